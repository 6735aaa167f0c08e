// Puts the firewall back when others take it away: `nft flush ruleset`, `iptables -F`, a firewalld reload, a dockerd restart.
import { dockersAmong, type Kernel } from "@portolan/kernel";
import { portElements } from "@portolan/ports";
import { PluginError, type KeyedLocks, type Logger } from "@portolan/sdk";
import type { Encryption } from "./encryption/encryption.ts";
import type { Firewall, Member } from "./firewall.ts";
import { allNetworksLock } from "./lock-keys.ts";
import { memberOf } from "./layout.ts";
import { BRIDGE_PREFIX } from "./naming.ts";
import type { Records } from "./records.ts";

export interface GuardParts {
  readonly kernel: Kernel;
  readonly firewall: Firewall;
  readonly encryption: Pick<Encryption, "isSealed" | "settle">;
  readonly records: Records;
  readonly locks: KeyedLocks;
  readonly log: Logger;
  readonly linkLocal: string;
}

/** Between two looks at a ruleset that keeps changing, as it does while dockerd starts containers. */
const REST_MS = 500;
/** iptables-legacy tells of a change only when the table's size changed. */
const LOOK_MS = 30_000;

export class FirewallGuard implements AsyncDisposable {
  readonly #parts: GuardParts;
  readonly #watches: Disposable[] = [];
  readonly #closing = new AbortController();
  #restored = 0;
  #trouble: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #mending: Promise<void> | undefined;
  #changed = false;

  constructor(parts: GuardParts) {
    this.#parts = parts;
  }

  /** How often our table had to be put back, and why the last attempt to keep the rules in place failed. */
  get state(): { readonly restored: number; readonly trouble?: string } {
    return { restored: this.#restored, ...(this.#trouble !== undefined && { trouble: this.#trouble }) };
  }

  /** Installs the table, before networks are applied. @throws KernelError when that is impossible */
  async start(): Promise<void> {
    const { kernel } = this.#parts;
    await this.#install();
    const changed = () => {
      this.#changed = true;
      // While it mends, the end of that sees to it.
      if (!this.#mending) this.#mendIn(0);
    };
    this.#watches.push(kernel.nftables.watch(changed), kernel.forwardAccept.watch(changed));
    await this.#mendNow();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new Error("the firewall's guard is stopping"));
    clearTimeout(this.#timer);
    for (const watch of this.#watches) watch[Symbol.dispose]();
    await this.#mending;
  }

  #mendIn(ms: number): void {
    clearTimeout(this.#timer);
    if (this.#closing.signal.aborted) return;
    this.#timer = setTimeout(() => void this.#mendNow(), ms).unref();
  }

  /** One at a time; the next follows in due course. */
  #mendNow(): Promise<void> {
    if (this.#mending) return this.#mending;
    this.#changed = false;
    this.#mending = this.#mend()
      .then(
        () => (this.#trouble = undefined),
        (error: unknown) => this.#complain(error),
      )
      .then(() => {
        this.#mending = undefined;
        this.#mendIn(this.#changed ? REST_MS : LOOK_MS);
      });
    return this.#mending;
  }

  async #mend(): Promise<void> {
    const { kernel, firewall, encryption, locks, log } = this.#parts;
    if (!(await encryption.isSealed())) {
      await encryption.settle();
      this.#restored += 1;
      log.warn("somebody removed the rules that keep packets in the tunnels; they are back");
    }
    // Without the lock first: hardly ever is anything wrong.
    if (!(await firewall.isIntact(this.#members()))) {
      const mend = async () => {
        if (await firewall.isIntact(this.#members())) return;
        await this.#install();
        this.#restored += 1;
        log.warn("somebody removed the firewall rules; they are back");
      };
      await locks.run(allNetworksLock, "firewall", mend, this.#closing.signal);
    }
    if (await kernel.forwardAccept.ensure(BRIDGE_PREFIX)) log.info("FORWARD lets our networks through");
    const links = (await kernel.links.list()).map(({ name }) => name);
    await firewall.setDockers(dockersAmong(links, await kernel.forwardAccept.dockerBridges()));
  }

  #complain(error: unknown): void {
    if (this.#closing.signal.aborted) return;
    const { message } = PluginError.from(error);
    if (message !== this.#trouble)
      this.#parts.log.error("could not keep the firewall rules, and will try again", { err: error });
    this.#trouble = message;
  }

  #install(): Promise<void> {
    const { firewall, records } = this.#parts;
    const endpoints = records.endpoints.filter(({ progress }) => progress !== "removing");
    return firewall.install(
      this.#members(),
      endpoints.flatMap((endpoint) => portElements(endpoint)),
    );
  }

  #members(): readonly Member[] {
    const { records, linkLocal } = this.#parts;
    const networks = records.networks.filter(({ progress }) => progress === "made");
    return networks.map((network) => memberOf(network, linkLocal));
  }
}
