// Tunnels between the hosts for what encrypted networks send: made with the first such network, mended, given new keys, and
// taken away with the last.
import type { Kernel } from "@portolan/kernel";
import { PluginError, type Logger } from "@portolan/sdk";
import type { Peers } from "../cluster/peers.ts";
import type { Presence } from "../cluster/presence.ts";
import type { NetworkRecord, Records } from "../records.ts";
import { wireguardOverheadOf, type Uplink } from "../uplink.ts";
import { farEnds, handshake, putFarEnds, putRoute, removeOthers, type FarEnd } from "./far-ends.ts";
import { OwnTunnels, type OwnTunnel } from "./own-tunnels.ts";
import { Seal } from "./seal.ts";
import { TUNNEL_ADDRESSES } from "./tunnel-key.ts";

export interface EncryptionParts {
  readonly kernel: Kernel;
  readonly peers: Peers;
  readonly presence: Presence;
  readonly records: Records;
  readonly log: Logger;
  /** This host's name. */
  readonly host: string;
  readonly vtep: string;
  readonly uplink: () => Promise<Uplink>;
  /** UDP; the next one is used, too. */
  readonly port: number;
  readonly quietMs?: number | undefined;
}

/** How long nothing may have come by the old key before it goes. */
const QUIET_MS = 10_000;
/** Between two attempts to tell a store that is away. */
const AWAY_MS = 5_000;
/** Between two looks while a key changes. */
const SOON_MS = 250;
const IMPATIENT_MS = 60_000;
const LATER_MS = 5_000;
const REJECTED_ROUTE = { destination: TUNNEL_ADDRESSES, link: "lo", unreachable: true, metric: 2_000_000_000 } as const;

export const isSealed = ({ encrypted, progress }: NetworkRecord) => encrypted === true && progress !== "removing";

/** All that encryption leaves in the kernel beside the links. */
export async function removeTunnelRules(kernel: Kernel): Promise<void> {
  await kernel.routes.remove(REJECTED_ROUTE);
  await new Seal(kernel).remove();
}

export class Encryption implements AsyncDisposable {
  readonly #parts: EncryptionParts;
  readonly #tunnels: OwnTunnels;
  #seal: Seal;
  readonly #listeners = new Set<(host: string | undefined) => void>();
  readonly #watches: Disposable[] = [];
  /** Where packets for each host go, inside the tunnels. */
  readonly #ways = new Map<string, string>();
  /** Routes that were put, by link's index and destination: asking for each of a thousand at each look takes its time. */
  #routes = new Set<string>();
  #own: readonly OwnTunnel[] = [];
  #shown: readonly OwnTunnel[] = [];
  #ready = false;
  /** Nothing is there of an earlier life, or of networks that are gone. */
  #isClean = false;
  #queue: Promise<unknown> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;
  #trouble: string | undefined;
  #rekeyWanted = false;
  /** Why the cluster was not told at the last attempt. */
  #away: { readonly error: unknown; readonly since: number } | undefined;
  /** Since when a key has been changing. */
  #awaiting: number | undefined;
  #quiet: { readonly received: number; readonly since: number } | undefined;

  constructor(parts: EncryptionParts) {
    const { kernel, peers, port } = parts;
    this.#parts = parts;
    this.#tunnels = new OwnTunnels(kernel, port);
    this.#seal = new Seal(kernel);
    this.#watches.push(peers.listen(() => this.#soon(0)));
    void peers.first.then(() => this.#soon(0));
    this.#watches.push(kernel.links.watch(() => void this.#lookAtLinks()));
  }

  /** Until then nobody knows where packets for other hosts go, and what the kernel was told stays. */
  get ready(): boolean {
    return this.#ready;
  }

  /** Why the tunnels are not as they should be. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /** Newest first; as they were at the last look. */
  get own(): readonly OwnTunnel[] {
    return this.#shown.toReversed();
  }

  /** Why this host cannot encrypt; undefined when it can. */
  async refusal(): Promise<string | undefined> {
    const { tunnels, sysctls } = this.#parts.kernel;
    if (!(await tunnels.areAvailable())) return "this host's kernel has no WireGuard";
    if ((await sysctls.get("net/ipv6/conf/lo/disable_ipv6")) !== "0")
      return "this host has IPv6 switched off on its link lo, and hosts call each other by it inside the tunnels";
    return undefined;
  }

  /** Where the packets of encrypted networks for a host go; undefined when nobody knows its key. */
  addressOf(host: string): string | undefined {
    return this.#ways.get(host);
  }

  /** @param changed called with a host's name when `addressOf` it is another, and without one when `ready` has become true */
  listen(changed: (host: string | undefined) => void): Disposable {
    this.#listeners.add(changed);
    return { [Symbol.dispose]: () => void this.#listeners.delete(changed) };
  }

  /** Brings tunnels, rules and routes to what the records need. To be called when an encrypted network came or went. */
  settle(): Promise<void> {
    return this.#run(() => this.#settle().finally(() => (this.#shown = this.#own)));
  }

  /** As `settle`, now and then: also whether the key is old enough to be changed. */
  async look(): Promise<void> {
    this.#routes.clear();
    await this.settle().catch((error: unknown) => this.#complain(error));
  }

  /** Gives this host another key, soon. @throws PluginError when it has none, or is changing it already, StoreAway */
  async rekey(): Promise<void> {
    if (this.#own.length === 0) throw new PluginError("this host has no key: it carries no encrypted network");
    if (this.#own.length > 1) throw new PluginError("this host's key is being changed already");
    this.#rekeyWanted = true;
    await this.settle();
  }

  /** Reads from the kernel when hands were last shaken. */
  async refresh(): Promise<void> {
    // Beside whatever else goes on, which may wait for the store.
    if (this.#own.length > 0) this.#shown = await this.#tunnels.list(false);
  }

  /** Whether the rules that keep packets in the tunnels are in place. */
  isSealed(): Promise<boolean> {
    return this.#seal.isIntact();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const watch of this.#watches) watch[Symbol.dispose]();
    await this.#queue;
  }

  /** One after the other. */
  #run<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#queue.then(work);
    this.#queue = run.catch(() => undefined);
    return run;
  }

  #soon(ms: number): void {
    if (this.#closed || !this.#parts.records.networks.some(isSealed)) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.settle().catch((error: unknown) => this.#complain(error)), ms).unref();
  }

  /** A link that is not as we left it, as when somebody removed it, is mended at once. */
  async #lookAtLinks(): Promise<void> {
    for (const { name, index } of this.#own) {
      const link = await this.#parts.kernel.links.get(name).catch(() => undefined);
      if (link?.index !== index || !link.up) {
        this.#soon(0);
        return;
      }
    }
  }

  async #settle(): Promise<void> {
    const { kernel, records, peers, host, vtep, log } = this.#parts;
    const networks = records.networks.filter(isSealed);
    this.#trouble = undefined;
    if (networks.length === 0) {
      await this.#takeDown();
      return;
    }
    this.#isClean = false;
    await this.#seal.ensure(networks);
    await kernel.routes.add(REJECTED_ROUTE);
    const mtu = await this.#mtu();
    this.#own = await this.#tunnels.list(true);
    if (this.#own.length === 0 || this.#isKeyOld(networks)) {
      await this.#tunnels.make((this.#own.at(-1)?.generation ?? -1) + 1, mtu);
      this.#rekeyWanted = false;
      this.#quiet = undefined;
      this.#own = await this.#tunnels.list(true);
      log.info(this.#own.length > 1 ? "changing this host's key" : "made a key for this host");
    }
    // The routes of a link go with its address, or when it is down.
    for (const own of this.#own) if (await this.#tunnels.complete(own, mtu)) this.#routes.clear();
    // Both of one moment: once the hosts are known, tunnels to all others go.
    const [ends, known] = [farEnds(peers, host, vtep), peers.known];
    for (const [index, own] of this.#own.entries()) await putFarEnds(kernel, own, index === 0, ends);
    // Others hear of a key when this host is ready to hear from them.
    const told = await this.#tell(this.#own).then(
      () => undefined,
      (error: unknown) => error,
    );
    this.#own = await this.#tunnels.list(true);
    await this.#lead(ends);
    if (known) {
      for (const own of this.#own) await removeOthers(kernel, own, ends);
      this.#becomeReady();
      if (told === undefined) await this.#retire(ends);
    }
    this.#lookAgain(ends);
    if (told !== undefined) this.#complain(told);
  }

  /** While a key changes, here or on a host that is there: soon at first, and not for ever. */
  #lookAgain(ends: readonly FarEnd[]): void {
    const isAwaited = (end: FarEnd) =>
      !end.isOldest &&
      this.#parts.peers.get(end.host)?.awaySince === undefined &&
      this.#own.every((own) => handshake(own, end) === undefined);
    if (this.#own.length < 2 && !ends.some(isAwaited)) {
      this.#awaiting = undefined;
      return;
    }
    this.#awaiting ??= performance.now();
    this.#soon(performance.now() - this.#awaiting < IMPATIENT_MS ? SOON_MS : LATER_MS);
  }

  /** Routes and, for each host, the newest of its keys that has proved itself. */
  async #lead(ends: readonly FarEnd[]): Promise<void> {
    const ways = new Map<string, string>();
    const known = new Set(this.#own.flatMap((own) => ends.map((end) => routeKey(own, end))));
    this.#routes = new Set([...this.#routes].filter((key) => known.has(key)));
    for (const end of ends) {
      const proved = this.#own.filter((own) => handshake(own, end) !== undefined);
      // The oldest needs no proof, or nobody would ever begin.
      for (const own of new Set([...this.#own.slice(0, 1), ...proved])) {
        const key = routeKey(own, end);
        if (this.#routes.has(key)) continue;
        await putRoute(this.#parts.kernel, own, end);
        this.#routes.add(key);
      }
      if (!ways.has(end.host) && (proved.length > 0 || end.isOldest)) ways.set(end.host, end.address);
    }
    const changed = new Set([...this.#ways.keys(), ...ways.keys()]);
    for (const host of changed) {
      const [before, now] = [this.#ways.get(host), ways.get(host)];
      if (before === now) continue;
      if (now === undefined) this.#ways.delete(host);
      else this.#ways.set(host, now);
      for (const listener of this.#listeners) listener(host);
    }
  }

  #becomeReady(): void {
    if (this.#ready) return;
    this.#ready = true;
    for (const listener of this.#listeners) listener(undefined);
  }

  /** The old key goes when every host that is not away has proved the new one, and nothing has come by the old one for a while. */
  async #retire(ends: readonly FarEnd[]): Promise<void> {
    const [old, newest] = this.#own;
    if (!old || !newest) return;
    const { peers, log, quietMs = QUIET_MS } = this.#parts;
    const heard = ends.filter(({ host }) => peers.get(host)?.awaySince === undefined);
    const hosts = new Set(heard.map(({ host }) => host));
    for (const host of hosts) {
      const way = heard.find(({ host: name, address }) => name === host && address === this.#ways.get(host));
      if (way && handshake(newest, way) !== undefined) continue;
      this.#quiet = undefined;
      return;
    }
    const keys = new Set(heard.map(({ key }) => key));
    const received = old.peers
      .filter(({ publicKey }) => keys.has(publicKey))
      .reduce((sum, peer) => sum + peer.received, 0);
    const now = performance.now();
    if (this.#quiet?.received !== received) this.#quiet = { received, since: now };
    if (now - this.#quiet.since < quietMs) return;
    await this.#tell([newest]);
    await this.#tunnels.remove(old);
    this.#own = [newest];
    this.#quiet = undefined;
    log.info("this host's key is another one now");
  }

  #isKeyOld(networks: readonly NetworkRecord[]): boolean {
    const [own, another] = this.#own;
    if (!own || another) return false;
    const ages = networks.map(({ rekey = 0 }) => rekey).filter((age) => age > 0);
    const isOld = ages.length > 0 && Date.now() - own.since >= Math.min(...ages);
    // After a start with another port, the next key has it.
    return isOld || this.#rekeyWanted || own.port !== this.#tunnels.portOf(own.generation);
  }

  async #mtu(): Promise<number> {
    const uplink = await this.#parts.uplink();
    return uplink.mtu - wireguardOverheadOf(uplink);
  }

  async #tell(own: readonly OwnTunnel[]): Promise<void> {
    const away = this.#away;
    // Each attempt takes seconds, and every network of a start makes one.
    if (away && performance.now() - away.since < AWAY_MS) throw away.error;
    try {
      await this.#parts.presence.tell(own.toReversed().map(({ key, port }) => ({ key, port })));
      this.#away = undefined;
    } catch (error) {
      this.#away = { error, since: performance.now() };
      throw error;
    }
  }

  async #takeDown(): Promise<void> {
    const { kernel, log } = this.#parts;
    const own = await this.#tunnels.list(true);
    if (own.length === 0 && this.#isClean) return;
    await this.#tell([]).catch((error: unknown) => log.warn("the cluster was not told", { err: error }));
    for (const each of own) await this.#tunnels.remove(each);
    await removeTunnelRules(kernel);
    this.#seal = new Seal(kernel);
    this.#own = [];
    this.#isClean = true;
    this.#routes.clear();
    this.#ways.clear();
    this.#ready = false;
  }

  #complain(error: unknown): void {
    if (this.#closed) return;
    const { message } = PluginError.from(error);
    if (message !== this.#trouble) this.#parts.log.error("the tunnels are not as they should be", { err: error });
    this.#trouble = message;
  }
}

const routeKey = (own: OwnTunnel, end: FarEnd) => `${own.index} ${end.address}`;
