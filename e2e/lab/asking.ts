// Requests that go on from a container while a suite moves what answers them, each counted.
import { readFile } from "node:fs/promises";
import type { Request } from "./ask-on.ts";
import type { Host } from "./host.ts";
import { patience } from "./patience.ts";
import type { Service } from "./service.ts";
import { eventually } from "./wait.ts";

/** Seconds after which a request has failed: a busy machine takes its time, who is refused or led to nobody fails sooner. */
const WAITS = 10;
/** Milliseconds between two requests. */
const PAUSE = 50;

export class Asking {
  readonly #from: string;
  readonly #program: Service;

  private constructor(from: string, program: Service) {
    this.#from = from;
    this.#program = program;
  }

  /**
   * Starts requests from the container to a web server, and waits for its first answer.
   * @param waits seconds after which a request has failed
   */
  static async start(host: Host, container: string, address: string, waits = WAITS): Promise<Asking> {
    const words = await host.inNetworkOf(container);
    const program = ["node", "--no-warnings", "/opt/portolan/e2e/lab/ask-on.ts"];
    const url = `http://${address}/`;
    const log = `asking-${container}-${host.services.size}`;
    const started = await host.start(log, [...words, ...program, url, `${waits * patience}`, `${PAUSE}`]);
    const asking = new Asking(`${container} on ${host.name}`, started);
    await eventually("the first answer", async () => (await asking.requests()).some(({ said }) => said !== undefined), {
      within: 60,
    });
    return asking;
  }

  /** What was asked so far, and has an answer or none by now. */
  async requests(): Promise<readonly Request[]> {
    const lines = (await readFile(this.#program.log, "utf8")).split("\n");
    // The last line may be half written.
    return lines.slice(0, -1).map((line) => JSON.parse(line) as Request);
  }

  async stop(): Promise<readonly Request[]> {
    await this.#program.stop();
    return this.requests();
  }

  /** Ends the requests, of which each must have had its answer. */
  async expectAnswered(): Promise<void> {
    const requests = await this.stop();
    if (requests.some((request) => request.failed !== undefined)) throw new Error(`${this.#from}: ${told(requests)}`);
  }
}

/** How many requests failed, over which time, and why. */
export function told(requests: readonly Request[]): string {
  const failed = requests.filter((request) => request.failed !== undefined);
  const [first, last] = [failed[0], failed.at(-1)];
  if (!first || !last) return `none of ${requests.length} requests failed`;
  const at = (time: number) => new Date(time).toISOString().slice(11, 23);
  const reasons = [...new Set(failed.map((request) => request.failed))].join("; ");
  return `of ${requests.length} requests ${failed.length} failed, from ${at(first.began)} to ${at(last.ended)}: ${reasons}`;
}

/** Does something while requests go from each container to the address, and throws unless each is answered. */
export async function whileAsking(
  clients: readonly (readonly [host: Host, container: string])[],
  address: string,
  act: () => Promise<void>,
): Promise<void> {
  const asking = await Promise.all(clients.map(([host, container]) => Asking.start(host, container, address)));
  await act();
  for (const each of asking) await each.expectAnswered();
}
