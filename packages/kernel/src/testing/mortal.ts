// The kernel as a process sees it that dies at one of its steps: what it had begun stays as it is then.
import type { Kernel, Parts } from "../kernel.ts";

/** The life of the process that uses a kernel, as a test decides about it. */
export interface ProcessLife {
  readonly died: Promise<unknown>;
  isOver(): boolean;
  /** Asked before each step that changes something. @returns whether the process ends before it @throws what the step fails with */
  reaches(step: string): boolean;
  end(): void;
}

type Method = (...parameters: readonly unknown[]) => unknown;

/** What changes nothing, and what is no call at all. */
const READS = new Set(["get", "list", "isLed", "exists", "open", "has", "mayOpen"]);

const forever = () => new Promise<never>(() => undefined);

/** The kernel as that process sees it. */
export function mortal(kernel: Kernel, life: ProcessLife): Kernel {
  return wrap(kernel, life);
}

/** With all its parts. */
function wrap<T extends object>(target: T, life: ProcessLife): T {
  return new Proxy(target, {
    get(own, name) {
      const value: unknown = Reflect.get(own, name);
      return typeof value === "object" && value !== null ? wrap(value, life) : methodOf(own, name, life);
    },
  });
}

function methodOf(target: object, name: string | symbol, life: ProcessLife): unknown {
  const value: unknown = Reflect.get(target, name);
  if (typeof value !== "function") return value;
  const method = value.bind(target) as Method;
  if (typeof name === "symbol")
    return (...parameters: unknown[]) => (life.isOver() ? undefined : method(...parameters));
  if (name === "watch") return method;
  if (name === "read")
    return (...parameters: unknown[]) => readUntilDeath(method(...parameters) as Parts<unknown>, life);
  return async (...parameters: unknown[]) => {
    if (life.isOver()) return forever();
    if (!READS.has(name)) await step(name, method, parameters, life);
    try {
      const result = await method(...parameters);
      if (life.isOver()) return await forever();
      const isPart =
        typeof result === "object" && result !== null && (Symbol.dispose in result || Symbol.asyncDispose in result);
      return isPart ? wrap(result, life) : result;
    } catch (error) {
      if (life.isOver()) return forever();
      throw error;
    }
  };
}

/** A table in parts, of which a process that is dead sees no more. */
async function* readUntilDeath(parts: Parts<unknown>, life: ProcessLife): AsyncGenerator<Iterable<unknown>> {
  // The kernel closes its sockets, whatever it was waiting for.
  void life.died.then(() => (parts as Partial<Generator>).return?.(undefined));
  for await (const part of parts) {
    if (life.isOver()) break;
    yield part;
  }
  if (life.isOver()) await forever();
}

/** Never returns to a process that is dead. */
async function step(name: string, method: Method, parameters: readonly unknown[], life: ProcessLife): Promise<void> {
  const [first, ...rest] = parameters;
  const words = [name, ...parameters.filter((each) => typeof each === "string")].join(" ");
  if (life.reaches(words)) {
    life.end();
    return forever();
  }
  // A link gets its alias in a second message.
  if (!name.startsWith("create") || !life.reaches(`${words}: its second message`)) return;
  const { alias: _not, ...half } = first as { readonly alias?: string };
  await method(half, ...rest);
  life.end();
  return forever();
}
