// Limits of what a container receives and sends. A link loses them when dockerd moves it, so they are set in the container's
// sandbox, as soon as the link is there, and looked after from then on.
import { setTimeout as sleep } from "node:timers/promises";
import { isKernelError, removeOwn, type Kernel, type Limits } from "@portolan/kernel";
import {
  endpointLock,
  PluginError,
  type EndpointId,
  type KeyedLocks,
  type Logger,
  type RateLimits,
  type Undo,
} from "@portolan/sdk";
import { hasArrived, linkIn } from "./whereabouts.ts";
import { aliasOf, limiterName } from "./naming.ts";
import type { Flavour } from "./options.ts";
import type { EndpointRecord, Records } from "./records.ts";

interface LimiterParts {
  readonly flavour: Flavour;
  readonly kernel: Kernel;
  readonly records: Records;
  readonly locks: KeyedLocks;
  readonly log: Logger;
}

/** A container's first packet comes some 50 ms after its link. */
const PAUSE_MS = 5;
/** How often at that pace; then dockerd has better things to do, or has died. */
const HASTY_LOOKS = 400;
const LONG_PAUSE_MS = 500;

export class Limiter implements Disposable {
  readonly #parts: LimiterParts;
  readonly #waiting = new Map<EndpointId, AbortController>();
  readonly #troubles = new Map<EndpointId, string>();

  constructor(parts: LimiterParts) {
    this.#parts = parts;
  }

  /** Why a container's limits do not hold. */
  get troubles(): ReadonlyMap<EndpointId, string> {
    return this.#troubles;
  }

  /**
   * Sets the limits at the link while it is the host's, where they do not last: a kernel that can't is found out before
   * dockerd is told that the container has them.
   * @throws PluginError where they could not be set in the sandbox, KernelError
   */
  async rehearse(link: string, { id, limits }: Pick<EndpointRecord, "id" | "limits">, undo: Undo): Promise<void> {
    if (!limits) return;
    const { kernel } = this.#parts;
    await requireSandboxes(kernel);
    const limiter = this.#limiter(id);
    undo.add(`remove link ${limiter.name}`, async () => {
      await removeOwn(kernel.links, limiter);
    });
    await kernel.shaping.limit(link, fromInside(limits), limiter);
    if (limits.in) await removeOwn(kernel.links, limiter);
  }

  /** From Join on, and after a restart of ours: in the background, since the link has yet to arrive in the sandbox. */
  follow({ id, limits, sandbox }: EndpointRecord): void {
    if (!limits || sandbox === undefined || this.#waiting.has(id)) return;
    const stopping = new AbortController();
    this.#waiting.set(id, stopping);
    void this.#wait(id, stopping.signal)
      .catch((error: unknown) => {
        if (!stopping.signal.aborted) this.#parts.log.error("nobody sets the limits", { endpoint: id, err: error });
      })
      .finally(() => {
        if (this.#waiting.get(id) === stopping) this.#waiting.delete(id);
      });
  }

  /** At Leave and for endpoints that dockerd has forgotten: a container that stays without this network is to keep nothing of it. */
  async forget({ id, limits, sandbox }: EndpointRecord): Promise<void> {
    this.#waiting.get(id)?.abort();
    this.#waiting.delete(id);
    this.#troubles.delete(id);
    const { kernel } = this.#parts;
    if (!limits) return;
    await removeOwn(kernel.links, this.#limiter(id));
    if (limits.in === undefined || sandbox === undefined || !(await kernel.sandboxes.exists(sandbox))) return;
    try {
      await using inside = await kernel.sandboxes.open(sandbox);
      const limiter = this.#limiter(id);
      if ((await inside.links.get(limiter.name))?.alias === limiter.alias) await inside.links.remove(limiter.name);
    } catch (error) {
      // It ended while we looked.
      if (!isKernelError(error, "ENOENT", "EINVAL")) throw error;
    }
  }

  /** Sets what somebody took away, or what could not be set so far; to be called alone with the endpoint. */
  async mend(endpoint: EndpointRecord): Promise<void> {
    const { id, limits } = endpoint;
    if (!limits || this.#waiting.has(id)) return;
    if (await hasArrived(this.#parts, endpoint)) await this.#apply(endpoint);
  }

  [Symbol.dispose](): void {
    for (const stopping of this.#waiting.values()) stopping.abort();
  }

  async #wait(id: EndpointId, signal: AbortSignal): Promise<void> {
    const { records, locks } = this.#parts;
    const alone = (network: EndpointRecord["network"], work: () => Promise<boolean>) =>
      locks.run(endpointLock(network, id), "limits", work, signal);
    for (let looks = 0; !signal.aborted; looks += 1) {
      const record = records.endpoints.get(id);
      if (record?.sandbox === undefined) return;
      const isDone =
        (await hasArrived(this.#parts, record)) &&
        (await alone(record.network, async () => {
          const current = records.endpoints.get(id);
          return current === undefined || current.sandbox !== record.sandbox || (await this.#apply(current));
        }));
      if (isDone) return;
      await sleep(looks < HASTY_LOOKS ? PAUSE_MS : LONG_PAUSE_MS, undefined, { signal, ref: false }).catch(
        () => undefined,
      );
    }
  }

  /** @returns whether the limits hold */
  async #apply({ id, network, limits, sandbox }: EndpointRecord): Promise<boolean> {
    const { kernel, log } = this.#parts;
    if (!limits || sandbox === undefined) return true;
    try {
      await using inside = await kernel.sandboxes.open(sandbox);
      const links = await inside.links.list();
      const limiter = this.#limiter(id);
      const link = linkIn(links, this.#parts.flavour, id);
      // Its parent has gone, and the link with it.
      if (!link) return false;
      const isSent = limits.out === undefined || link.isShaped === true;
      const helper = links.find(({ name }) => name === limiter.name);
      const isReceived =
        limits.in === undefined || (helper?.isShaped === true && (await inside.shaping.isLed(link.name)));
      if (!isSent || !isReceived) await inside.shaping.limit(link.name, fromInside(limits), limiter);
      this.#troubles.delete(id);
      return true;
    } catch (error) {
      const { message } = PluginError.from(error);
      if (this.#troubles.get(id) !== message)
        log.error("could not set a container's limits, and will retry", { network, endpoint: id, err: error });
      this.#troubles.set(id, message);
      return false;
    }
  }

  #limiter(id: EndpointId): { readonly name: string; readonly alias: string } {
    return { name: limiterName(id), alias: aliasOf(this.#parts.flavour, id) };
  }
}

/** @throws PluginError where limits could never be set */
export async function requireSandboxes({ sandboxes }: Kernel): Promise<void> {
  if (await sandboxes.mayOpen()) return;
  throw new PluginError("portolan.rate: limits are set in the container's namespace, which this driver may not enter", {
    hint: "Give it CAP_SYS_ADMIN, as its systemd unit does and a managed plugin can't have, or leave out portolan.rate.",
  });
}

const fromInside = (limits: RateLimits): Limits => ({
  ...(limits.out && { sent: limits.out }),
  ...(limits.in && { received: limits.in }),
});
