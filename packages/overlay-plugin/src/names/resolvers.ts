// Where this host answers names: at each network's gateways, at one link-local address for all of them, and for the host itself.
import { Cidr, PluginError, type Logger, type Metrics, type NetworkId } from "@portolan/sdk";
import { memberOf } from "../layout.ts";
import type { Carrier } from "../carrier.ts";
import type { NetworkRecord } from "../records.ts";
import type { Asking } from "./answer.ts";
import type { Directory } from "./directory.ts";
import { Forwarder } from "./forward.ts";
import type { listen } from "./resolver.ts";
import { type ListenAt } from "./resolver.ts";
import { Tally } from "./tally.ts";
import { Upstreams } from "./upstreams.ts";

const RESOLV_CONF = "/etc/resolv.conf";
/** Beside 127.0.0.53, where systemd-resolved answers. */
const HOST_STUB = "127.0.53.53";

export interface ResolversParts {
  readonly carriers: () => ReadonlyMap<NetworkId, Carrier>;
  readonly directory: Directory;
  readonly linkLocal: string;
  /** Whether programs of this host may ask, too, and with them whoever asks by way of the host. */
  readonly hostStub: boolean;
  readonly log: Logger;
  readonly metrics?: Metrics | undefined;
  readonly listen: typeof listen;
  /** Tests have servers of their own. */
  readonly resolvConf?: string;
}

export class Resolvers implements AsyncDisposable {
  readonly #parts: ResolversParts;
  readonly #tally: Tally;
  readonly #upstreams: Upstreams;
  readonly #forwarder = new Forwarder();
  readonly #listening = new Map<string, AsyncDisposable>();
  readonly #troubles = new Map<string, string>();
  #working: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(parts: ResolversParts) {
    this.#parts = parts;
    this.#tally = new Tally(parts.metrics);
    this.#upstreams = new Upstreams(parts.resolvConf ?? RESOLV_CONF, (address) => this.#listening.has(address));
  }

  /** Addresses that answer, why others do not, and how many questions came to which end. */
  get state() {
    return {
      addresses: [...this.#listening.keys()],
      troubles: [...this.#troubles.values()],
      questions: this.#tally.counts,
    };
  }

  /** Opens and closes what the records say; one time after the other. What can't be opened is tried again the next time. */
  ensure(): Promise<void> {
    this.#working = this.#working.then(() => this.#ensure());
    return this.#working;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await this.ensure();
  }

  async #ensure(): Promise<void> {
    const wanted = this.#closed ? new Map<string, ListenAt>() : this.#wanted();
    for (const [address, listening] of [...this.#listening]) {
      if (wanted.has(address)) continue;
      this.#listening.delete(address);
      await listening[Symbol.asyncDispose]();
    }
    for (const address of this.#troubles.keys()) if (!wanted.has(address)) this.#troubles.delete(address);
    for (const [address, at] of wanted) {
      if (!this.#listening.has(address)) await this.#open(address, at);
    }
  }

  async #open(address: string, at: ListenAt): Promise<void> {
    const parts = {
      zone: this.#parts.directory,
      upstreams: this.#upstreams,
      forwarder: this.#forwarder,
      tally: this.#tally,
    };
    try {
      this.#listening.set(address, await this.#parts.listen(parts, at));
      this.#troubles.delete(address);
    } catch (error) {
      const trouble = `can't answer names at ${address}: ${PluginError.from(error).message}`;
      if (this.#troubles.get(address) !== trouble) this.#parts.log.warn(`${trouble}; will try again`);
      this.#troubles.set(address, trouble);
    }
  }

  #wanted(): Map<string, ListenAt> {
    const { carriers, linkLocal, hostStub, directory } = this.#parts;
    const carried = [...carriers().values()].map(({ network }) => network);
    const wanted = new Map<string, ListenAt>();
    for (const network of carried) {
      for (const address of memberOf(network, linkLocal).resolvers)
        wanted.set(address, {
          address,
          asking: address === linkLocal ? this.#fromAnywhere : this.#fromInside(network),
        });
    }
    if (hostStub && carried.length > 0)
      wanted.set(HOST_STUB, {
        address: HOST_STUB,
        asking: () => ({ networks: directory.openNetworks, mayForward: true }),
      });
    return wanted;
  }

  /** A container of the network asks about all networks that it is in. */
  #fromInside({ id }: NetworkRecord): (asker: string) => Omit<Asking, "transport"> {
    return (asker) => {
      const networks = this.#networksOf(asker);
      return networks.includes(id) ? this.#of(networks) : { networks: [], mayForward: false };
    };
  }

  /** With daemon.json all containers of the host ask there, those of other drivers too: what is in the world they may know. */
  readonly #fromAnywhere = (asker: string): Omit<Asking, "transport"> => {
    const networks = this.#networksOf(asker);
    return networks.length > 0 ? this.#of(networks) : { networks, mayForward: !this.#isInside(asker) };
  };

  #of(networks: readonly NetworkId[]): Omit<Asking, "transport"> {
    return { networks, mayForward: networks.some((network) => this.#parts.directory.mayAskOthers(network)) };
  }

  #networksOf(asker: string): readonly NetworkId[] {
    return this.#parts.directory.networksOf(asker);
  }

  /** In a network of ours, though it is no container that we know. */
  #isInside(asker: string): boolean {
    return [...this.#parts.carriers().values()].some(({ network }) =>
      network.subnets.some((subnet) => Cidr.parse(subnet).contains(asker)),
    );
  }
}
