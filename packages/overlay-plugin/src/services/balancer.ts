// Keeps the tables in the sandboxes of one network's containers on this host as the services are.
import { setTimeout as sleep } from "node:timers/promises";
import { isKernelError, type Kernel, type Sandbox } from "@portolan/kernel";
import { PluginError, type Logger, type NetworkId } from "@portolan/sdk";
import { difference, familyOf, removal, tableOf, wholeTable } from "./ruleset.ts";
import type { Service } from "./service.ts";

export interface BalancerParts {
  readonly kernel: Pick<Kernel, "sandboxes">;
  readonly network: NetworkId;
  readonly log: Logger;
  /** Where the network's containers on this host are, as dockerd names their sandboxes. */
  readonly sandboxes: () => readonly string[];
  /** What is to be in them; undefined while nobody knows, and then they are left as they are. */
  readonly services: () => readonly Service[] | undefined;
}

export interface BalancerState {
  /** Sandboxes that have what they should. */
  readonly current: number;
  /** Those that do not, or not yet. */
  readonly behind: number;
  /** Transactions since the start. */
  readonly updates: number;
  /** Tables that were found missing. */
  readonly restored: number;
  /** Flows that led to where the service is no more and were forgotten. */
  readonly forgottenFlows: number;
  readonly trouble?: string;
}

/** So that what changes at once is written at once: a service that starts everywhere, a host that goes. */
const GATHER_MS = 20;
/** dockerd makes a sandbox some milliseconds after Join, before the container's program starts. */
const WAITS = { oftenMs: 5, oftenFor: 2_000, seldomMs: 100, seldomFor: 30_000 };

export class Balancer implements AsyncDisposable {
  readonly #parts: BalancerParts;
  readonly #table: string;
  /** By sandbox: what its table has. Of one that is missing here nobody knows. */
  readonly #written = new Map<string, readonly Service[]>();
  /** By sandbox: what is being written there, one after the other. */
  readonly #writing = new Map<string, Promise<void>>();
  /** Sandboxes whose containers are leaving the network. */
  readonly #leaving = new Set<string>();
  readonly #closing = new AbortController();
  #pass: Promise<void> | undefined;
  #due = false;
  #updates = 0;
  #restored = 0;
  #forgottenFlows = 0;
  #trouble: string | undefined;

  constructor(parts: BalancerParts) {
    this.#parts = parts;
    this.#table = tableOf(parts.network);
  }

  get state(): BalancerState {
    const sandboxes = this.#parts.sandboxes();
    const services = this.#parts.services() ?? [];
    const current = sandboxes.filter((sandbox) => this.#isCurrent(sandbox, services)).length;
    return {
      ...{ current, behind: sandboxes.length - current, updates: this.#updates, restored: this.#restored },
      forgottenFlows: this.#forgottenFlows,
      ...(this.#trouble !== undefined && { trouble: this.#trouble }),
    };
  }

  /** Something changed: all sandboxes are written soon. */
  update(): void {
    this.#due = true;
    if (this.#pass || this.#closing.signal.aborted) return;
    this.#pass = this.#passes().finally(() => {
      this.#pass = undefined;
    });
  }

  /** Resolves when all that was asked for is written, or was refused. */
  async settled(): Promise<void> {
    while (this.#pass) await this.#pass;
  }

  /**
   * Waits until dockerd has made the sandbox, and writes its table.
   * @returns false when it is not made in time, or the container left meanwhile
   */
  async attend(sandbox: string): Promise<boolean> {
    const { sandboxes } = this.#parts.kernel;
    const begin = performance.now();
    for (;;) {
      const waited = performance.now() - begin;
      if (this.#closing.signal.aborted || waited > WAITS.seldomFor) return false;
      if (!this.#parts.sandboxes().includes(sandbox)) return false;
      if (await sandboxes.exists(sandbox)) break;
      await sleep(waited < WAITS.oftenFor ? WAITS.oftenMs : WAITS.seldomMs);
    }
    // It is a new one, whatever had this path before.
    this.#written.delete(sandbox);
    await this.#bring(sandbox, this.#parts.services());
    return true;
  }

  /**
   * The container leaves the network: its table goes, where the sandbox stays. What fails of that is told of in the state.
   * @param forget takes the sandbox out of the records, only then: whoever dies before that finds it there the next time
   */
  async release(sandbox: string, forget: () => Promise<void>): Promise<void> {
    this.#leaving.add(sandbox);
    try {
      await this.clear(sandbox).catch((error: unknown) => this.#complain(error));
      await forget();
    } finally {
      this.#leaving.delete(sandbox);
    }
  }

  /** Takes the table out of a sandbox in which nobody is to have it any more. @throws KernelError */
  async clear(sandbox: string): Promise<void> {
    await this.#writing.get(sandbox);
    this.#written.delete(sandbox);
    await removeTable(this.#parts.kernel, this.#parts.network, sandbox);
  }

  /** Tables that somebody took away are noted, and written by the next pass. */
  async compare(): Promise<void> {
    const { kernel, sandboxes } = this.#parts;
    for (const sandbox of sandboxes()) {
      if ((this.#written.get(sandbox) ?? []).length === 0 || !(await kernel.sandboxes.exists(sandbox))) continue;
      const isThere = await inside(kernel, sandbox, ({ nftables }) =>
        nftables.list(`list chain ${this.#table} lead`),
      ).then(
        () => true,
        (error: unknown) => !isKernelError(error, "ENOENT"),
      );
      if (isThere) continue;
      this.#written.delete(sandbox);
      this.#restored += 1;
    }
    this.update();
    await this.settled();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.settled();
  }

  async #passes(): Promise<void> {
    while (this.#due && !this.#closing.signal.aborted) {
      await sleep(GATHER_MS);
      this.#due = false;
      const services = this.#parts.services();
      for (const sandbox of this.#parts.sandboxes()) await this.#bring(sandbox, services);
    }
  }

  #isCurrent(sandbox: string, services: readonly Service[]): boolean {
    const written = this.#written.get(sandbox);
    return written !== undefined && difference(this.#table, written, services) === "";
  }

  #bring(sandbox: string, services: readonly Service[] | undefined): Promise<void> {
    const turn = (this.#writing.get(sandbox) ?? Promise.resolve())
      .then(() => this.#bringNow(sandbox, services))
      .finally(() => {
        if (this.#writing.get(sandbox) === turn) this.#writing.delete(sandbox);
      });
    this.#writing.set(sandbox, turn);
    return turn;
  }

  /** One that dockerd has not made yet, or has removed, has nothing to be written. */
  async #bringNow(sandbox: string, services: readonly Service[] | undefined): Promise<void> {
    const { kernel, sandboxes } = this.#parts;
    if (!services || this.#isCurrent(sandbox, services)) return;
    // It may have been left since somebody listed it.
    if (this.#leaving.has(sandbox) || !sandboxes().includes(sandbox)) return;
    try {
      const there = await kernel.sandboxes.exists(sandbox);
      if (there === undefined) throw new PluginError("containers' network namespaces are not to be seen from here");
      if (!there) return;
      await inside(kernel, sandbox, (opened) => this.#write(opened, this.#written.get(sandbox), services));
      this.#written.set(sandbox, services);
      this.#trouble = undefined;
    } catch (error) {
      this.#written.delete(sandbox);
      // It ended while we were at it.
      if ((await kernel.sandboxes.exists(sandbox)) !== false) this.#complain(error);
    }
  }

  async #write(
    { nftables, conntrack }: Sandbox,
    written: readonly Service[] | undefined,
    services: readonly Service[],
  ): Promise<void> {
    const whole = services.length === 0 ? removal(this.#table) : wholeTable(this.#table, services);
    if (!written || written.length === 0 || services.length === 0) await nftables.run(whole);
    else {
      // Somebody inside may have taken it away.
      await nftables.run(difference(this.#table, written, services)).catch(() => nftables.run(whole));
    }
    this.#updates += 1;
    const fewer = services.filter(({ name, targets }) => {
      const before = written?.find((service) => service.name === name);
      return !before || before.targets.some((target) => !targets.includes(target));
    });
    const flows = fewer.flatMap(({ vips, targets }) =>
      vips.map((vip) => ({ address: vip, to: targets.filter((target) => familyOf(target) === familyOf(vip)) })),
    );
    if (flows.length > 0) this.#forgottenFlows += await conntrack.forgetLed(flows);
  }

  #complain(error: unknown): void {
    const { message } = PluginError.from(error);
    if (message !== this.#trouble)
      this.#parts.log.error("could not write the services into a container's sandbox, and will try again", {
        network: this.#parts.network,
        err: error,
      });
    this.#trouble = message;
  }
}

/** Takes a network's table out of a sandbox, if both are there. @throws KernelError */
export async function removeTable(
  kernel: Pick<Kernel, "sandboxes">,
  network: NetworkId,
  sandbox: string,
): Promise<void> {
  if ((await kernel.sandboxes.exists(sandbox)) !== true) return;
  await inside(kernel, sandbox, ({ nftables }) => nftables.run(removal(tableOf(network)))).catch((error: unknown) => {
    if (!isKernelError(error, "ENOENT") && !isKernelError(error, "EINVAL")) throw error;
  });
}

/** A sandbox that is open keeps its namespace from ending, so it is open for a moment only. */
async function inside<T>(
  kernel: Pick<Kernel, "sandboxes">,
  path: string,
  work: (sandbox: Sandbox) => Promise<T>,
): Promise<T> {
  await using sandbox = await kernel.sandboxes.open(path);
  return await work(sandbox);
}
