// Docker's own address management: the pools it chooses and the addresses it hands out, in memory as in dockerd.
import ipaddr from "ipaddr.js";
import { Cidr } from "../../values.ts";
import type { Family } from "../../values.ts";

/** Pools that dockerd takes in turn for networks without `--subnet`. 172.17.0.0/16 belongs to docker0. */
const IPV4_POOLS = [
  ...Array.from({ length: 14 }, (_, index) => `172.${index + 18}.0.0/16`),
  ...Array.from({ length: 16 }, (_, index) => `192.168.${index * 16}.0/20`),
];

interface Pool {
  readonly subnet: Cidr;
  /** `--ip-range`: where addresses that nobody named are taken from. */
  readonly range: Cidr;
  readonly used: Set<bigint>;
}

/** What IpamDriver verbs look like from inside dockerd, whoever answers them. */
export interface Ipam {
  requestPool(request: PoolAsked): Promise<PoolGiven>;
  releasePool(poolId: string): Promise<void>;
  /** An address with prefix length, or nothing from an IPAM driver that hands out none (`null`). */
  requestAddress(poolId: string, request: AddressAsked): Promise<string | undefined>;
  releaseAddress(poolId: string, address: string): Promise<void>;
}

export interface PoolAsked {
  readonly pool?: string;
  readonly subPool?: string;
  readonly options: Readonly<Record<string, string>>;
  readonly family: Family;
  /** Set when dockerd says again what it holds already; otherwise it is the IPAM driver's own space. */
  readonly addressSpace?: string;
}

export interface PoolGiven {
  readonly addressSpace: string;
  readonly poolId: string;
  readonly pool: string;
  /** From the reply's Data; dockerd then asks for no gateway address. */
  readonly gateway?: string;
}

export interface AddressAsked {
  readonly address?: string;
  readonly gateway?: boolean;
  readonly mac?: string;
}

export class DefaultIpam implements Ipam {
  readonly #pools = new Map<string, Pool>();
  readonly #defaultIPv6: boolean;

  /** @param defaultIPv6 whether IPv6 pools can be chosen without being named (28 and newer) */
  constructor(defaultIPv6: boolean) {
    this.#defaultIPv6 = defaultIPv6;
  }

  requestPool({ pool, subPool, family }: PoolAsked): Promise<PoolGiven> {
    const subnet = pool === undefined ? this.#choose(family) : Cidr.parse(pool);
    const id = `LocalDefault/${subnet.toString()}`;
    for (const other of this.#pools.values()) {
      if (other.subnet.overlaps(subnet)) {
        return Promise.reject(new Error("Pool overlaps with other one on this address space"));
      }
    }
    const range = subPool === undefined ? subnet : Cidr.parse(subPool);
    const used = new Set([toNumber(subnet.address)]);
    if (family === 4) used.add(lastAddress(subnet));
    this.#pools.set(id, { subnet, range, used });
    return Promise.resolve({ addressSpace: "LocalDefault", poolId: id, pool: subnet.toString() });
  }

  releasePool(poolId: string): Promise<void> {
    this.#pools.delete(poolId);
    return Promise.resolve();
  }

  requestAddress(poolId: string, { address }: AddressAsked): Promise<string> {
    const pool = this.#pools.get(poolId);
    if (!pool) return Promise.reject(new Error("Invalid Pool ID"));
    const taken = address === undefined ? firstFree(pool) : toNumber(address);
    if (taken === undefined)
      return Promise.reject(new Error("no available IPv4 addresses on this network's address pools"));
    if (pool.used.has(taken)) return Promise.reject(new Error("Address already in use"));
    pool.used.add(taken);
    return Promise.resolve(`${toText(taken, pool.subnet.family)}/${pool.subnet.prefix}`);
  }

  releaseAddress(poolId: string, address: string): Promise<void> {
    this.#pools.get(poolId)?.used.delete(toNumber(address));
    return Promise.resolve();
  }

  #choose(family: Family): Cidr {
    if (family === 6 && !this.#defaultIPv6) {
      throw new Error(
        "could not find an available, non-overlapping IPv6 address pool among the defaults to assign to the network",
      );
    }
    const candidates =
      family === 4 ? IPV4_POOLS : Array.from({ length: 4096 }, (_, i) => `fd7b:6ed5:${(i + 1).toString(16)}::/64`);
    for (const candidate of candidates) {
      const subnet = Cidr.parse(candidate);
      if (![...this.#pools.values()].some((pool) => pool.subnet.overlaps(subnet))) return subnet;
    }
    throw new Error("all predefined address pools have been fully subnetted");
  }
}

/** `--ipam-driver null`: one pool that means nothing, and no addresses. The network driver may then answer some. */
export class NullIpam implements Ipam {
  requestPool({ family }: PoolAsked): Promise<PoolGiven> {
    const pool = family === 4 ? "0.0.0.0/0" : "::/0";
    return Promise.resolve({ addressSpace: "null", poolId: `null/${pool}`, pool });
  }

  releasePool(): Promise<void> {
    return Promise.resolve();
  }

  requestAddress(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  releaseAddress(): Promise<void> {
    return Promise.resolve();
  }
}

function firstFree({ range, used }: Pool): bigint | undefined {
  const last = lastAddress(range);
  for (let candidate = toNumber(range.subnet.address); candidate <= last; candidate += 1n) {
    if (!used.has(candidate)) return candidate;
  }
  return undefined;
}

function lastAddress(subnet: Cidr): bigint {
  const bits = (subnet.family === 4 ? 32 : 128) - subnet.prefix;
  return toNumber(subnet.subnet.address) | ((1n << BigInt(bits)) - 1n);
}

export function toNumber(address: string): bigint {
  return ipaddr
    .parse(address)
    .toByteArray()
    .reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

export function toText(value: bigint, family: Family): string {
  const length = family === 4 ? 4 : 16;
  const bytes = Array.from({ length }, (_, index) => Number((value >> BigInt(8 * (length - 1 - index))) & 255n));
  return ipaddr.fromByteArray(bytes).toString();
}
