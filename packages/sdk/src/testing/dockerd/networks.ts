// `docker network create` and `rm` as the plugin sees them, and what dockerd repeats of them at its start.
import { randomBytes } from "node:crypto";
import ipaddr from "ipaddr.js";
import { Cidr } from "../../values.ts";
import type { Family } from "../../values.ts";
import type { BookNetwork, BookPool, NetworkOptions, SubnetOptions } from "./book.ts";
import { DefaultIpam, NullIpam } from "./default-ipam.ts";
import type { Ipam } from "./default-ipam.ts";
import type { Engine } from "./engine.ts";
import type { PluginIpam } from "./plugin-ipam.ts";
import type { RemoteDriver } from "./remote-driver.ts";

const DOCKER0 = "172.17.0.0/16";

export interface Dockerd {
  readonly engine: Engine;
  readonly driver: RemoteDriver;
  readonly pluginIpam: PluginIpam;
  /** What dockerd would write to its log: failures that it goes on in spite of. */
  readonly log: string[];
}

/** Waits for `step`; a failure is written down and otherwise ignored, as dockerd does with deletes. */
export async function ignoring(log: string[], step: Promise<unknown>): Promise<void> {
  try {
    await step;
  } catch (error) {
    log.push(error instanceof Error ? error.message : String(error));
  }
}

/** Go's maps come out of its JSON encoder with their keys in order. */
export function goMap<Value>(entries: Readonly<Record<string, Value>>): Record<string, Value> {
  return Object.fromEntries(Object.entries(entries).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

export class Networks {
  /** By name. Holds Docker's own `bridge` from the start. */
  readonly book = new Map<string, BookNetwork>();
  /** Deleted by the user while the driver could not be loaded; dockerd tries again at its next start. */
  readonly halfDeleted: BookNetwork[] = [];
  readonly #dockerd: Dockerd;
  readonly #ipams: Readonly<Record<"default" | "plugin" | "null", Ipam>>;

  constructor(dockerd: Dockerd) {
    this.#dockerd = dockerd;
    this.#ipams = {
      default: new DefaultIpam(dockerd.engine.defaultIPv6Pools),
      plugin: dockerd.pluginIpam,
      null: new NullIpam(),
    };
  }

  /** Docker's own bridge network, which is there before anything else. */
  async createDockerBridge(): Promise<void> {
    const network = this.#enter("bridge", randomId(), { driver: "bridge" });
    network.pools = await this.#allocate(network, 4, [{ subnet: DOCKER0 }], false);
    this.book.set("bridge", network);
  }

  get(name: string): BookNetwork {
    const network = this.book.get(name);
    if (!network) throw new Error(`network ${name} not found`);
    return network;
  }

  async create(name: string, options: NetworkOptions): Promise<BookNetwork> {
    const { engine, driver, pluginIpam } = this.#dockerd;
    if (this.book.has(name)) throw new Error(`network with name ${name} already exists`);
    const network = this.#enter(name, randomId(), options);
    const ipv4 = options.ipv4 ?? true;
    if (!ipv4 && !engine.ipv4Optional) throw new Error("unknown flag: --ipv4");
    const driverOptions = goMap({
      ...(engine.ipv4Optional && { "com.docker.network.enable_ipv4": ipv4 }),
      "com.docker.network.enable_ipv6": options.ipv6 ?? false,
      "com.docker.network.generic": goMap(options.options ?? {}),
      ...(network.internal && { "com.docker.network.internal": true }),
    });
    let skip = { skipIPv4: false, skipIPv6: false };
    if (network.driver === "plugin") {
      await driver.activate();
      skip = await driver.gwAllocCheck(driverOptions);
    }
    if (network.ipamName === "plugin") await pluginIpam.beginNetwork();
    const subnets = options.subnets ?? [];
    try {
      if (ipv4) await this.#allocateFamily(network, 4, subnets, skip.skipIPv4);
      if (options.ipv6 === true) await this.#allocateFamily(network, 6, subnets, skip.skipIPv6);
      if (network.driver === "plugin") {
        const data = (family: Family): unknown[] =>
          network.pools.filter((pool) => pool.family === family).map(ipamData);
        await driver.createNetwork(network.id, driverOptions, data(4), data(6));
      }
    } catch (error) {
      await this.#release(network);
      throw error;
    }
    this.book.set(name, network);
    return network;
  }

  /** The caller has made sure that nothing is attached any more. */
  async remove(name: string): Promise<void> {
    const network = this.get(name);
    const { driver, log } = this.#dockerd;
    if (network.driver === "plugin" && !driver.active) {
      try {
        await driver.activate();
      } catch (error) {
        this.book.delete(name);
        this.halfDeleted.push(network);
        throw error;
      }
    }
    await this.#release(network);
    if (network.driver === "plugin") await ignoring(log, driver.deleteNetwork(network.id));
    this.book.delete(name);
  }

  /** Finishes what a former dockerd could not. */
  async finishDeletes(): Promise<void> {
    for (const network of this.halfDeleted.splice(0)) {
      await this.#release(network);
      await ignoring(this.#dockerd.log, this.#dockerd.driver.deleteNetwork(network.id));
    }
  }

  /** Says again every pool and address that dockerd remembers, to an IPAM driver that asked for it. */
  async replay(addresses: (network: BookNetwork) => readonly { poolId: string; address: string }[]): Promise<void> {
    const { log } = this.#dockerd;
    for (const network of this.book.values()) {
      if (network.ipamName !== "plugin") continue;
      for (const { addressSpace, pool, poolId, subPool, family, gateway, aux } of network.pools) {
        const asked = {
          addressSpace,
          pool,
          ...(subPool !== undefined && { subPool }),
          options: network.ipamOptions,
          family,
        };
        await ignoring(log, network.ipam.requestPool(asked));
        if (gateway !== undefined) {
          await ignoring(log, network.ipam.requestAddress(poolId, { address: bare(gateway), gateway: true }));
        }
        for (const address of Object.values(aux)) {
          await ignoring(log, network.ipam.requestAddress(poolId, { address: bare(address) }));
        }
        for (const held of addresses(network).filter((one) => one.poolId === poolId)) {
          await ignoring(log, network.ipam.requestAddress(poolId, { address: held.address }));
        }
      }
    }
  }

  #enter(name: string, id: string, options: NetworkOptions): BookNetwork {
    const ipamName = options.ipam ?? "default";
    return {
      id,
      name,
      driver: options.driver ?? "plugin",
      internal: options.internal ?? false,
      ipam: this.#ipams[ipamName],
      ipamName,
      ipamOptions: options.ipamOptions ?? {},
      pools: [],
    };
  }

  async #allocateFamily(
    network: BookNetwork,
    family: Family,
    all: readonly SubnetOptions[],
    skip: boolean,
  ): Promise<void> {
    const wanted = all.filter(({ subnet }) => (subnet.includes(":") ? 6 : 4) === family);
    network.pools = [...network.pools, ...(await this.#allocate(network, family, wanted, skip))];
  }

  async #allocate(
    network: BookNetwork,
    family: Family,
    subnets: readonly SubnetOptions[],
    skipGateway: boolean,
  ): Promise<BookPool[]> {
    const pools: BookPool[] = [];
    for (const wanted of subnets.length > 0 ? subnets : [undefined]) {
      const asked = { options: network.ipamOptions, family, ...(wanted && { pool: wanted.subnet }) };
      try {
        const subPool = wanted?.ipRange;
        const given = await network.ipam.requestPool({ ...asked, ...(subPool !== undefined && { subPool }) });
        try {
          pools.push({
            ...given,
            family,
            ...(subPool !== undefined && { subPool }),
            ...(await this.#fill(network, given, wanted, skipGateway)),
          });
        } catch (error) {
          await ignoring(this.#dockerd.log, network.ipam.releasePool(given.poolId));
          throw error;
        }
      } catch (error) {
        if (!this.#dockerd.engine.leaksEarlierPools) await this.#releasePools(network, pools);
        throw error;
      }
    }
    return pools;
  }

  /** The gateway and the auxiliary addresses of a new pool. */
  async #fill(
    { ipam }: BookNetwork,
    given: { readonly poolId: string; readonly pool: string; readonly gateway?: string },
    wanted: SubnetOptions | undefined,
    skipGateway: boolean,
  ): Promise<{ gateway?: string; aux: Record<string, string> }> {
    let gateway = given.gateway;
    if (wanted?.gateway !== undefined || (gateway === undefined && !skipGateway)) {
      const address = wanted?.gateway;
      try {
        gateway = await ipam.requestAddress(given.poolId, { gateway: true, ...(address !== undefined && { address }) });
      } catch (error) {
        throw new Error(`failed to allocate gateway (${address ?? ""}): ${(error as Error).message}`, { cause: error });
      }
    }
    const aux: Record<string, string> = {};
    for (const [name, address] of Object.entries(wanted?.aux ?? {})) {
      if (!Cidr.parse(given.pool).contains(address)) continue;
      aux[name] = (await ipam.requestAddress(given.poolId, { address })) ?? address;
    }
    return { ...(gateway !== undefined && { gateway }), aux };
  }

  async #release(network: BookNetwork): Promise<void> {
    await this.#releasePools(network, network.pools);
  }

  async #releasePools({ ipam }: BookNetwork, pools: readonly BookPool[]): Promise<void> {
    const { log } = this.#dockerd;
    for (const { poolId, gateway, aux } of pools) {
      if (gateway !== undefined) await ignoring(log, ipam.releaseAddress(poolId, bare(gateway)));
      for (const address of Object.values(aux)) await ignoring(log, ipam.releaseAddress(poolId, bare(address)));
      await ignoring(log, ipam.releasePool(poolId));
    }
  }
}

/** IPAMData of CreateNetwork: dockerd leaves out what it has not. */
function ipamData({ addressSpace, pool, gateway, aux }: BookPool): Record<string, unknown> {
  return {
    AddressSpace: addressSpace,
    ...(Object.keys(aux).length > 0 && { AuxAddresses: goMap(aux) }),
    ...(gateway !== undefined && { Gateway: gateway }),
    Pool: pool,
  };
}

/** `10.40.0.1/24` without its prefix length. */
export function bare(cidr: string): string {
  return ipaddr.parse(cidr.replace(/\/.*/, "")).toString();
}

/** An id as dockerd makes them: 64 hex digits. */
export function randomId(): string {
  return randomBytes(32).toString("hex");
}
