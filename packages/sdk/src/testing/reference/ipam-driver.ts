// The smallest IPAM driver that holds to every rule, and the ways in which drivers break them, one at a time.
import type {
  IpamDriver,
  PoolRequest,
  ReleaseAddressRequest,
  RequestAddressReply,
  RequestAddressRequest,
  RequestPoolReply,
  RequestPoolRequest,
} from "../../ipam-driver.ts";
import { PluginError } from "../../plugin-error.ts";
import { Cidr } from "../../values.ts";
import type { PoolId } from "../../values.ts";
import type { CrashPoints, Host, Life } from "../conformance/subject.ts";
import { toNumber, toText } from "../dockerd/default-ipam.ts";
import { MemoryHost, MemoryProcess } from "./memory-host.ts";

export type IpamFault =
  | "counts up its PoolIDs"
  | "keeps one book for both address spaces"
  | "chooses the same pool again"
  | "gives the first address to everyone"
  | "gives addresses that are held"
  | "knows no --ip-range"
  | "refuses to release what is not held"
  | "forgets everything at a restart"
  | "keeps a pool when its addresses are not released"
  | "leaves the prefix length of the host"
  | "answers before it has written down";

interface Pool {
  readonly pool: string;
  readonly range: string;
  readonly held: readonly string[];
}

let counter = 0;

class ReferenceIpamDriver implements IpamDriver {
  readonly addressSpaces = { local: "refLocal", global: "refGlobal" };
  readonly #process: MemoryProcess<Pool>;
  readonly #fault: IpamFault | undefined;
  readonly #unwritten = new Map<string, Pool>();

  constructor(process: MemoryProcess<Pool>, fault: IpamFault | undefined) {
    this.#process = process;
    this.#fault = fault;
  }

  async requestPool({ addressSpace, pool, subPool, ipv6 }: RequestPoolRequest): Promise<RequestPoolReply> {
    const chosen = pool?.subnet ?? this.#choose(addressSpace, ipv6);
    const space = this.#fault === "keeps one book for both address spaces" ? "" : `${addressSpace}/`;
    const suffix = this.#fault === "counts up its PoolIDs" ? `#${(counter += 1)}` : "";
    const id = `${space}${chosen.toString()}${suffix}`;
    if (!this.#find(id))
      await this.#write(id, { pool: chosen.toString(), range: (subPool ?? chosen).toString(), held: [] });
    return { poolId: id as PoolId, pool: chosen };
  }

  async releasePool({ poolId }: PoolRequest): Promise<void> {
    const pool = this.#find(poolId);
    if (!pool && this.#fault === "refuses to release what is not held") throw new PluginError("no such pool");
    if (pool && pool.held.length > 0 && this.#fault === "keeps a pool when its addresses are not released") return;
    if (pool) await this.#write(poolId, undefined);
  }

  async requestAddress({ poolId, address }: RequestAddressRequest): Promise<RequestAddressReply> {
    const pool = this.#find(poolId);
    if (!pool) throw new PluginError(`pool "${poolId}" is unknown`, { hint: "Request it first." });
    const subnet = Cidr.parse(pool.pool);
    if (address !== undefined && !subnet.contains(address)) {
      throw new PluginError(`address ${address} is not in ${pool.pool}`, { hint: "Ask for one that is." });
    }
    const held =
      address !== undefined && pool.held.includes(address) && this.#fault !== "gives addresses that are held";
    if (held) throw new PluginError(`address ${address} is in use`, { hint: "Ask for another one." });
    const given = address ?? this.#firstFree(pool);
    await this.#write(poolId, { ...pool, held: [...pool.held, given] });
    const prefix = this.#fault === "leaves the prefix length of the host" ? 32 : subnet.prefix;
    return { address: Cidr.parse(`${given}/${prefix}`) };
  }

  async releaseAddress({ poolId, address }: ReleaseAddressRequest): Promise<void> {
    const pool = this.#find(poolId);
    if (pool?.held.includes(address))
      await this.#write(poolId, { ...pool, held: pool.held.filter((one) => one !== address) });
  }

  #find(id: string): Pool | undefined {
    return this.#unwritten.get(id) ?? this.#process.records.get(id);
  }

  async #write(id: string, pool: Pool | undefined): Promise<void> {
    if (this.#fault === "answers before it has written down" && pool) {
      this.#unwritten.set(id, pool);
      return;
    }
    await this.#process.commit({ [id]: pool });
  }

  #choose(space: string, ipv6: boolean): Cidr {
    for (let number = 0; number < 256; number += 1) {
      const candidate = Cidr.parse(ipv6 ? `fd00:200:${number.toString(16)}::/64` : `10.200.${number}.0/24`);
      const own = [...this.#process.records].filter(([id]) => id.startsWith(space));
      const free = !own.some(([, { pool }]) => Cidr.parse(pool).overlaps(candidate));
      if (free || this.#fault === "chooses the same pool again") return candidate;
    }
    throw new PluginError("all pools are in use", { hint: "Give a --subnet." });
  }

  #firstFree({ pool, range, held }: Pool): string {
    const { family } = Cidr.parse(pool);
    const within = Cidr.parse(this.#fault === "knows no --ip-range" ? pool : range);
    for (let number = toNumber(within.address); ; number += 1n) {
      const text = toText(number, family);
      if (number === toNumber(Cidr.parse(pool).address)) continue;
      if (!within.contains(text) || text.endsWith(".255")) throw new PluginError(`${pool} is full`);
      if (!held.includes(text) || this.#fault === "gives the first address to everyone") return text;
    }
  }
}

/** A host with nothing on it, and the reference driver to run there. */
export function referenceIpamHost(fault?: IpamFault): Host {
  const host = new MemoryHost<Pool>();
  return {
    start(crashPoints: CrashPoints): Promise<Life> {
      if (fault === "forgets everything at a restart") host.records.clear();
      const ipam = new ReferenceIpamDriver(new MemoryProcess(host, crashPoints), fault);
      return Promise.resolve({ ipam, close: () => Promise.resolve(), kill: () => undefined });
    },
    inventory: () => host.inventory(),
  };
}
