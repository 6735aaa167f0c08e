// Puts the firewall back when others take it away: `nft flush ruleset`, `iptables -F`, a firewalld reload, a dockerd restart.
import { dockersAmong, type Kernel, type RulesetChange } from "@portolan/kernel";
import { portElements } from "@portolan/ports";
import { PluginError, type KeyedLocks, type Logger } from "@portolan/sdk";
import { ANTISPOOF_TABLE, antispoofElements, portPlaceElements } from "./antispoof.ts";
import { TABLE, type Firewall } from "./firewall.ts";
import { furtherLayout, networkLayout, type Element } from "./layout.ts";
import { allNetworksLock } from "./lock-keys.ts";
import { BRIDGE_PREFIX, hasNameOfItsOwn } from "./naming.ts";
import { openElements } from "./open-ports.ts";
import { furtherInUse } from "./places.ts";
import type { Records } from "./records.ts";

export interface GuardParts {
  readonly kernel: Kernel;
  readonly firewall: Firewall;
  readonly records: Records;
  readonly locks: KeyedLocks;
  readonly log: Logger;
}

export interface GuardState {
  /** How often our table had to be put back. */
  readonly restored: number;
  /** Why the last attempt to keep the rules in place failed. */
  readonly trouble?: string;
  /** Why this host can't keep containers from sending from others' addresses. */
  readonly withoutAntispoof?: string;
}

/** Between two looks at a ruleset that keeps changing, as it does while dockerd starts containers. */
const REST_MS = 500;
/** Links come and go without a word, and what failed may work by now. */
const LOOK_MS = 30_000;

/**
 * What others did to our tables since they were last put right. `unlooked`: nothing that we know of, and a look is due. `lost`:
 * the kernel could not tell all, so they have to be read.
 */
type Harm = "none" | "unlooked" | "lost" | "touched";

export class FirewallGuard implements AsyncDisposable {
  readonly #parts: GuardParts;
  #restored = 0;
  #troubles: readonly string[] = [];
  #watches: readonly Disposable[] = [];
  #timer: NodeJS.Timeout | undefined;
  #mending: Promise<void> | undefined;
  #changed = false;
  #harm: Harm = "none";
  /** Aborted when disposed of: a lock that some call never gives back must not keep the process from ending. */
  readonly #closing = new AbortController();

  constructor(parts: GuardParts) {
    this.#parts = parts;
  }

  get state(): GuardState {
    const trouble = this.#troubles.join("; ");
    const { withoutAntispoof } = this.#parts.firewall;
    return {
      restored: this.#restored,
      ...(trouble !== "" && { trouble }),
      ...(withoutAntispoof !== undefined && { withoutAntispoof }),
    };
  }

  /** Installs the table, before networks are applied. @throws KernelError when that is impossible */
  async start(): Promise<void> {
    const { nftables, forwardAccept } = this.#parts.kernel;
    await this.#install();
    const { firewall, log } = this.#parts;
    if (firewall.withoutAntispoof !== undefined)
      log.warn(`containers may send from any address: ${firewall.withoutAntispoof}. Load the module nf_tables_bridge`);
    this.#watches = [nftables.watch((change) => this.#hear(change)), forwardAccept.watch(() => this.#mendSoon())];
    await this.#mendNow();
  }

  /**
   * Of bridges that have names of their own FORWARD knows only those that the records tell of.
   * @returns whether anything had to be changed
   */
  async letThrough(): Promise<boolean> {
    const { kernel, records } = this.#parts;
    const names = new Set(records.networks.map(({ bridge }) => bridge).filter(hasNameOfItsOwn));
    const links = await this.#links();
    const dockers = await this.#dockers(links);
    const others = links.filter((name) => !dockers.includes(name) && !names.has(name));
    return kernel.forwardAccept.ensure(BRIDGE_PREFIX, [...names], { dockers, others });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new Error("the firewall's guard is stopping"));
    clearTimeout(this.#timer);
    for (const watch of this.#watches) watch[Symbol.dispose]();
    await this.#mending;
  }

  /** Most of what others do is none of our business; reading our table each time would cost as much as it holds. */
  #hear({ tables, lost }: RulesetChange): void {
    if (tables.has(TABLE) || tables.has(ANTISPOOF_TABLE)) this.#harm = "touched";
    else if (lost && this.#harm !== "touched") this.#harm = "lost";
    this.#mendSoon();
  }

  #mendSoon(): void {
    this.#changed = true;
    // While it mends, the end of that sees to it.
    if (!this.#mending) this.#mendIn(0);
  }

  #mendIn(ms: number): void {
    clearTimeout(this.#timer);
    if (this.#closing.signal.aborted) return;
    this.#timer = setTimeout(() => {
      if (!this.#changed && this.#harm === "none") this.#harm = "unlooked";
      void this.#mendNow();
    }, ms).unref();
  }

  /** One at a time; the next follows in due course. */
  #mendNow(): Promise<void> {
    if (this.#mending) return this.#mending;
    this.#changed = false;
    this.#mending = this.#mend().finally(() => {
      this.#mending = undefined;
      this.#mendIn(this.#changed ? REST_MS : LOOK_MS);
    });
    return this.#mending;
  }

  /** Looks at all that others may have changed, and puts back what is gone. */
  async #mend(): Promise<void> {
    const { firewall, log } = this.#parts;
    const troubles: string[] = [];
    const attempt = async (what: string, work: () => Promise<void>) => {
      try {
        this.#closing.signal.throwIfAborted();
        await work();
      } catch (error) {
        if (this.#closing.signal.aborted) return;
        const trouble = `could not ${what}: ${PluginError.from(error).message}`;
        if (!this.#troubles.includes(trouble)) log.error(`could not ${what}, and will try again`, { err: error });
        troubles.push(trouble);
      }
    };
    await attempt("put the firewall rules back", async () => {
      if (!(await this.#putBack())) return;
      this.#restored += 1;
      log.warn("somebody removed the firewall rules; they are back");
    });
    await attempt("let traffic through FORWARD", async () => {
      if (await this.letThrough()) log.info("FORWARD lets our networks through");
    });
    await attempt("keep networks apart from Docker's own", async () =>
      firewall.setDockers(await this.#dockers(await this.#links())),
    );
    this.#troubles = troubles;
  }

  /** @returns whether that was necessary */
  async #putBack(): Promise<boolean> {
    const harm = this.#harm;
    if (harm === "none") return false;
    // Whoever touches the table from here on has done so after this.
    this.#harm = "none";
    try {
      if (harm === "touched") return await this.#install();
      // Without the lock first: hardly ever is anything wrong, and a network that is being made looks as if it were.
      const isWhole = () => this.#isWhole(harm);
      return !(await isWhole()) && (await this.#install(isWhole));
    } catch (error) {
      this.#harm = harm;
      throw error;
    }
  }

  async #isWhole(harm: Harm): Promise<boolean> {
    const { firewall, records } = this.#parts;
    if (!(await firewall.isIntact())) return false;
    return harm !== "lost" || firewall.hasAsManyAs(recordedElements(records, await this.#links()));
  }

  /**
   * Alone with all networks, so that no element is put back that is being taken away.
   * @param isNeedless asked when alone @returns whether it was done
   */
  #install(isNeedless: () => Promise<boolean> = () => Promise.resolve(false)): Promise<boolean> {
    const { firewall, records, locks } = this.#parts;
    const install = async () => {
      if (await isNeedless()) return false;
      const links = await this.#links();
      const dockers = await this.#dockers(links);
      // Nothing may come between reading the records and this transaction: later ports are later transactions.
      await firewall.install(recordedElements(records, links), dockers);
      return true;
    };
    return locks.run(allNetworksLock, "firewall", install, this.#closing.signal);
  }

  async #links(): Promise<readonly string[]> {
    return (await this.#parts.kernel.links.list()).map(({ name }) => name);
  }

  async #dockers(links: readonly string[]): Promise<readonly string[]> {
    const { kernel, records } = this.#parts;
    const own = new Set(records.networks.map(({ bridge }) => bridge));
    return dockersAmong(links, await kernel.forwardAccept.dockerBridges()).filter((name) => !own.has(name));
  }
}

/**
 * All that the firewall is to hold. What is being removed is none of it, except for a network whose bridge could not be
 * removed yet: that must not stand open.
 */
function recordedElements(records: Records, links: readonly string[]): readonly Element[] {
  const networks = records.networks.filter(({ progress, bridge }) => progress !== "removing" || links.includes(bridge));
  const endpoints = records.endpoints.filter(({ progress }) => progress !== "removing");
  return [
    ...networks.flatMap((network) => networkLayout(network).elements),
    ...records.networks.flatMap((network) =>
      furtherInUse(records.endpointsOf(network.id)).flatMap((number) => furtherLayout(network, number).elements),
    ),
    // As long as it has a link, it may send.
    ...records.endpoints.flatMap((endpoint) => antispoofElements(endpoint)),
    ...records.endpoints.flatMap((endpoint) => portPlaceElements(endpoint, records.network(endpoint.network) ?? {})),
    ...endpoints.flatMap((endpoint) => portElements(endpoint)),
    ...endpoints.flatMap((endpoint) => {
      const network = records.network(endpoint.network);
      return network ? openElements(endpoint, network) : [];
    }),
  ];
}
