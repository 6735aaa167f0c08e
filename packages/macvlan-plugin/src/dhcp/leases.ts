// Endpoints' addresses from the LAN's own DHCP server: got before dockerd hears of them, kept as long as a container has them.
import { setTimeout as sleep } from "node:timers/promises";
import type { Dhcp, DhcpKeeper, DhcpLease, DhcpNews, DhcpWish, Kernel } from "@portolan/kernel";
import { endpointLock, PluginError, type EndpointId, type KeyedLocks, type Logger } from "@portolan/sdk";
import { hasArrived } from "../whereabouts.ts";
import type { Flavour } from "../options.ts";
import type { EndpointRecord, LeaseRecord, Records } from "../records.ts";

export interface LeasesParts {
  readonly flavour: Flavour;
  readonly kernel: Kernel;
  readonly dhcp: Dhcp;
  readonly records: Records;
  readonly locks: KeyedLocks;
  readonly log: Logger;
  readonly patience?: LeasePatience;
}

export interface LeasePatience {
  /** Between looks whether the link has arrived in its sandbox, and before a client that ended is started again. */
  readonly pauseMs: number;
}

/** `waiting`: the container is not there yet. `lost`: the container has no address until a server gives one. */
export type LeaseState = "waiting" | "kept" | "lost";

const PATIENCE: LeasePatience = { pauseMs: 500 };

interface Followed {
  state: LeaseState;
  keeper: DhcpKeeper | undefined;
  readonly stopping: AbortController;
  done: Promise<void>;
}

export class Leases implements AsyncDisposable {
  readonly #parts: LeasesParts;
  readonly #patience: LeasePatience;
  readonly #followed = new Map<EndpointId, Followed>();

  constructor(parts: LeasesParts) {
    this.#parts = parts;
    this.#patience = parts.patience ?? PATIENCE;
  }

  /** Undefined for an endpoint whose lease nobody keeps: it is in no container. */
  state(id: EndpointId): LeaseState | undefined {
    return this.#followed.get(id)?.state;
  }

  /**
   * Asks for a lease by the endpoint's link, which is the host's still.
   * @throws PluginError when no server gives one
   */
  async acquire(link: string, wish: DhcpWish): Promise<LeaseRecord> {
    const { kernel, dhcp } = this.#parts;
    for (const [setting, value] of SILENCE) {
      const path = `net/${setting.replace("LINK", link)}`;
      if ((await kernel.sysctls.get(path)) !== undefined) await kernel.sysctls.set(path, value);
    }
    await kernel.links.change(link, { up: true });
    try {
      return recordOf(await dhcp.acquire(link, wish), wish);
    } catch (error) {
      throw new PluginError(`portolan.dhcp: ${PluginError.from(error).message}`, {
        cause: error,
        hint: "Is there a DHCP server on the parent's LAN, and does the LAN let other MAC addresses than the host's through?",
      });
    } finally {
      await kernel.links.change(link, { up: false });
    }
  }

  /** From Join on, and after a restart of ours: in the background, since the link has yet to arrive in the sandbox. */
  follow(endpoint: EndpointRecord): void {
    const { id, lease, sandbox, mac } = endpoint;
    if (this.#followed.has(id) || !lease || sandbox === undefined || mac === undefined) return;
    const followed: Followed = {
      state: "waiting",
      keeper: undefined,
      stopping: new AbortController(),
      done: Promise.resolve(),
    };
    this.#followed.set(id, followed);
    followed.done = this.#keepOn(id, { sandbox, mac }, followed)
      .catch((error: unknown) => {
        if (!followed.stopping.signal.aborted)
          this.#parts.log.error("nobody keeps the endpoint's lease", { endpoint: id, err: error });
      })
      .finally(() => this.#followed.delete(id));
  }

  /** At Leave: the link is in its sandbox still, so the server can be told that the address is free. */
  async release(id: EndpointId): Promise<void> {
    await this.#end(id, (keeper) => keeper.release());
  }

  /** Asks at once whether the leases hold: their LAN may be another one since a parent was down. */
  renew(ids: readonly EndpointId[]): void {
    for (const id of ids) this.#followed.get(id)?.keeper?.renew();
  }

  /** The leases go on: containers keep their addresses, and whoever is started next keeps the leases. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#followed.keys()].map((id) => this.#end(id, (keeper) => keeper.stop())));
  }

  async #end(id: EndpointId, how: (keeper: DhcpKeeper) => Promise<void>): Promise<void> {
    const followed = this.#followed.get(id);
    if (!followed) return;
    followed.stopping.abort();
    if (followed.keeper) await how(followed.keeper);
    await followed.done;
  }

  async #keepOn(
    id: EndpointId,
    place: { readonly sandbox: string; readonly mac: string },
    followed: Followed,
  ): Promise<void> {
    const { dhcp, records, log } = this.#parts;
    const { signal } = followed.stopping;
    let told: string | undefined;
    while (!signal.aborted) {
      const record = records.endpoints.get(id);
      if (record?.lease === undefined || record.sandbox !== place.sandbox) return;
      const isThere = await hasArrived(this.#parts, record);
      // Whoever said so while we looked waits for us, and would for ever when a client ran now.
      signal.throwIfAborted();
      if (isThere) {
        const { wish = {}, ...lease } = record.lease;
        const { promise: ended, resolve } = Promise.withResolvers<string | undefined>();
        signal.addEventListener("abort", () => resolve(undefined), { once: true });
        followed.keeper = dhcp.keep(place, lease, wish, (news) => {
          if (news.kind === "ended") resolve(news.reason);
          else this.#hear(id, followed, news);
        });
        const reason = await ended;
        if (reason !== undefined) {
          followed.keeper = undefined;
          followed.state = "waiting";
          if (reason !== told) log.warn(`the DHCP client ended, and is started again: ${reason}`, { endpoint: id });
          told = reason;
        }
      }
      await sleep(this.#patience.pauseMs, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  #hear(id: EndpointId, followed: Followed, news: Exclude<DhcpNews, { kind: "ended" }>): void {
    const { log } = this.#parts;
    if (news.kind === "lost") {
      followed.state = "lost";
      log.error("the endpoint's DHCP lease is lost, and its container without an address until a server gives one", {
        endpoint: id,
      });
      return;
    }
    followed.state = "kept";
    void this.#note(id, news.lease).catch((error: unknown) => {
      log.error("could not note the endpoint's lease", { endpoint: id, err: error });
    });
  }

  async #note(id: EndpointId, lease: DhcpLease): Promise<void> {
    const { records, locks, log } = this.#parts;
    const network = records.endpoints.get(id)?.network;
    if (network === undefined) return;
    await locks.run(endpointLock(network, id), "DHCP lease", async () => {
      const record = records.endpoints.get(id);
      if (record?.lease === undefined || record.progress !== "made") return;
      if (record.lease.address !== lease.address)
        log.warn(
          `its container has the address ${lease.address} now; dockerd goes on showing the one that it was told`,
          { network, endpoint: id, before: record.lease.address },
        );
      const { wish } = record.lease;
      await records.endpoints.put({ ...record, lease: recordOf(lease, wish) });
    });
  }
}

/**
 * While the link is up in the host, the host must be nobody there: neither answer for its own addresses by the container's
 * MAC address, nor take one from a router.
 */
const SILENCE = [
  ["ipv4/conf/LINK/arp_ignore", "8"],
  ["ipv6/conf/LINK/disable_ipv6", "1"],
] as const;

function recordOf(lease: DhcpLease, wish: DhcpWish | undefined): LeaseRecord {
  return { ...lease, obtained: new Date().toISOString(), ...(wish && { wish }) };
}
