// The IPAM verbs as the checks call them: each must succeed unless it says otherwise.
import assert from "node:assert/strict";
import type { Rig } from "./rig.ts";

export interface PoolWishes {
  readonly space?: "local" | "global";
  /** `--ip-range`. */
  readonly range?: string;
  readonly ipv6?: boolean;
}

export interface AddressWishes {
  readonly address?: string;
  readonly gateway?: boolean;
  /** Swarm's allocator asks. */
  readonly serial?: boolean;
}

export class IpamCaller {
  readonly #rig: Rig;
  readonly #spaces: Readonly<Record<"local" | "global", string>>;

  private constructor(rig: Rig, local: string, global: string) {
    this.#rig = rig;
    this.#spaces = { local, global };
  }

  static async on(rig: Rig): Promise<IpamCaller> {
    const reply = await rig.must("IpamDriver.GetDefaultAddressSpaces");
    return new IpamCaller(rig, String(reply.LocalDefaultAddressSpace), String(reply.GlobalDefaultAddressSpace));
  }

  poolBody(subnet: string, { space = "local", range = "", ipv6 = false }: PoolWishes = {}): unknown {
    return { AddressSpace: this.#spaces[space], Pool: subnet, SubPool: range, Options: {}, V6: ipv6 };
  }

  addressBody(poolId: string, { address = "", gateway = false, serial = false }: AddressWishes = {}): unknown {
    const options = {
      ...(gateway && { RequestAddressType: "com.docker.network.gateway" }),
      ...(serial && { "com.docker.network.ipam.serial": "true" }),
    };
    return { PoolID: poolId, Address: address, Options: Object.keys(options).length > 0 ? options : null };
  }

  /** @param subnet empty: the driver chooses one */
  async pool(subnet: string, wishes: PoolWishes = {}): Promise<{ readonly id: string; readonly pool: string }> {
    const { PoolID: id, Pool: pool } = await this.#rig.must("IpamDriver.RequestPool", this.poolBody(subnet, wishes));
    assert.ok(typeof id === "string" && id !== "", "RequestPool answered no PoolID");
    assert.ok(typeof pool === "string" && pool !== "", "RequestPool answered no Pool");
    if (subnet !== "") assert.equal(pool, subnet, "another pool than the one asked for");
    return { id, pool };
  }

  /** @returns the address with its prefix length */
  async address(poolId: string, wishes: AddressWishes = {}): Promise<string> {
    const { Address } = await this.#rig.must("IpamDriver.RequestAddress", this.addressBody(poolId, wishes));
    assert.ok(
      typeof Address === "string" && Address.includes("/"),
      `RequestAddress answered ${JSON.stringify(Address)}`,
    );
    return Address;
  }

  async mustNotGive(poolId: string, address: string): Promise<void> {
    const { error, status } = await this.#rig.call("IpamDriver.RequestAddress", this.addressBody(poolId, { address }));
    assert.ok(error !== "" && status !== undefined, `${address} was given, though it is held or not in the pool`);
  }

  async releaseAddress(poolId: string, address: string): Promise<void> {
    await this.#rig.must("IpamDriver.ReleaseAddress", { PoolID: poolId, Address: address });
  }

  async releasePool(poolId: string): Promise<void> {
    await this.#rig.must("IpamDriver.ReleasePool", { PoolID: poolId });
  }
}
