// The plugin under test as dockerd's IPAM: which calls a pool or an address costs, and what dockerd makes of the answers.
import { Cidr } from "../../values.ts";
import type { AddressAsked, Ipam, PoolAsked, PoolGiven } from "./default-ipam.ts";
import type { Engine } from "./engine.ts";
import { field, isObject, textField } from "./plugin-client.ts";
import type { PluginClient } from "./plugin-client.ts";
import type { RemoteDriver } from "./remote-driver.ts";

/** More refused pools than any host has routes: a driver that repeats one keeps dockerd here for ever. */
const MOST_REFUSED_POOLS = 100;
const GATEWAY = "com.docker.network.gateway";

export interface PluginIpamOptions {
  readonly client: PluginClient;
  readonly engine: Engine;
  /** On-link routes of the host: pools that overlap one are refused and asked for anew. */
  readonly hostRoutes: readonly string[];
  /** Registration, which both vocabularies share. */
  readonly driver: RemoteDriver;
}

export class PluginIpam implements Ipam {
  readonly #options: PluginIpamOptions;
  #addressSpace = "";

  constructor(options: PluginIpamOptions) {
    this.#options = options;
  }

  /** The first thing a network create asks of its IPAM driver. */
  async beginNetwork(): Promise<void> {
    await this.#options.driver.activate();
    if (this.#options.engine.asksAddressSpaces !== "at registration") await this.#fetchAddressSpace();
    else this.#addressSpace = this.#options.driver.localAddressSpace;
  }

  async requestPool(asked: PoolAsked): Promise<PoolGiven> {
    if (this.#options.engine.asksAddressSpaces === "before each pool") await this.#fetchAddressSpace();
    const refused: string[] = [];
    try {
      for (;;) {
        const given = await this.#requestPoolOnce(asked);
        if (asked.pool !== undefined || !this.#overlapsHost(given.pool)) return given;
        refused.push(given.poolId);
        if (refused.length > MOST_REFUSED_POOLS) {
          throw new Error(
            `the IPAM driver answered ${given.pool} after it was refused: a real dockerd never ends here`,
          );
        }
      }
    } finally {
      for (const poolId of refused) await this.releasePool(poolId);
    }
  }

  async releasePool(poolId: string): Promise<void> {
    await this.#call("ReleasePool", { PoolID: poolId });
  }

  async requestAddress(poolId: string, { address = "", gateway, mac }: AddressAsked): Promise<string> {
    const options = {
      ...(gateway === true && { RequestAddressType: GATEWAY }),
      ...(mac !== undefined && { "com.docker.network.endpoint.macaddress": mac }),
    };
    const reply = await this.#call("RequestAddress", {
      PoolID: poolId,
      Address: address,
      Options: Object.keys(options).length > 0 ? options : null,
    });
    const given = textField(reply, "Address");
    if (given === "")
      throw new Error(this.#options.engine.version === "20.10" ? "No address returned" : "no address returned");
    parseCidr(given);
    return given;
  }

  async releaseAddress(poolId: string, address: string): Promise<void> {
    await this.#call("ReleaseAddress", { PoolID: poolId, Address: address });
  }

  async #requestPoolOnce({ pool = "", subPool = "", options, family, ...asked }: PoolAsked): Promise<PoolGiven> {
    const addressSpace = asked.addressSpace ?? this.#addressSpace;
    const reply = await this.#call("RequestPool", {
      AddressSpace: addressSpace,
      Pool: pool,
      SubPool: subPool,
      Options: options,
      V6: family === 6,
    });
    const given = textField(reply, "Pool");
    if (given === "" && this.#options.engine.version === "28.5") throw new Error(`netip.ParsePrefix(""): no '/'`);
    const data = field(reply, "Data");
    const gateway = isObject(data) ? textField(data, GATEWAY) : "";
    return {
      addressSpace,
      poolId: textField(reply, "PoolID"),
      pool: parseCidr(given).subnet.toString(),
      ...(gateway !== "" && { gateway: parseCidr(gateway).toString() }),
    };
  }

  async #fetchAddressSpace(): Promise<void> {
    const reply = await this.#call("GetDefaultAddressSpaces");
    this.#addressSpace = textField(reply, "LocalDefaultAddressSpace");
  }

  #overlapsHost(pool: string): boolean {
    const subnet = Cidr.parse(pool);
    return subnet.prefix > 0 && this.#options.hostRoutes.some((route) => Cidr.parse(route).overlaps(subnet));
  }

  /** On a 200 the IPAM vocabulary has its errors under `Error`; an `Err` there is not seen at all. */
  async #call(method: string, body?: unknown): Promise<Record<string, unknown>> {
    await this.#options.driver.activate();
    const reply = await this.#options.client.call(`IpamDriver.${method}`, body);
    const error = textField(reply, "Error");
    if (error !== "") throw new Error(`remote: ${error}`);
    return reply;
  }
}

export function parseCidr(text: string): Cidr {
  try {
    return Cidr.parse(text);
  } catch (cause) {
    throw new Error(`invalid CIDR address: ${text}`, { cause });
  }
}
