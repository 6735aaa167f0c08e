// Calls as dockerd makes them, for tests: what a user wishes, as the driver's methods take it.
import { Cidr, parseMac, type CallContext, type EndpointId, type IpamData, type NetworkId } from "@portolan/sdk";
import type { LanDriver } from "../driver.ts";

export const networkId = (name: string) => Buffer.from(name).toString("hex").padEnd(64, "0") as NetworkId;
export const endpointId = (name: string) => Buffer.from(name).toString("hex").padEnd(64, "f") as EndpointId;

const sandboxOptions = { exposedPorts: [], portMap: [], noProxy6To4: false, other: {} };

export interface NetworkWish {
  /** As `--subnet`, with the gateway behind a blank where there is one. Default: 10.40.0.0/24 without. */
  readonly subnets?: readonly string[];
  /** As `--ipam-driver null`. */
  readonly withoutIpam?: boolean;
  readonly internal?: boolean;
  /** As `--aux-address`: addresses by name. */
  readonly aux?: Readonly<Record<string, string>>;
  readonly options?: Readonly<Record<string, string>>;
}

export class Calls {
  /** How many creates found what they were to make. */
  repeats = 0;
  readonly #driver: () => LanDriver;
  readonly #call: CallContext = {
    verb: "test",
    call: 1,
    signal: new AbortController().signal,
    unknownFields: new Map(),
    madeBefore: () => (this.repeats += 1),
  };

  /** @param driver the one that lives now */
  constructor(driver: () => LanDriver) {
    this.#driver = driver;
  }

  createNetwork(name: string, wish: NetworkWish = {}): Promise<void> {
    const { subnets = ["10.40.0.0/24"], withoutIpam = false, internal = false, aux = {}, options = {} } = wish;
    const data = subnets.map((text): IpamData => {
      const [pool = "", gateway] = text.split(" ");
      const { prefix } = Cidr.parse(pool);
      return {
        addressSpace: "LocalDefault",
        pool: Cidr.parse(pool),
        ...(gateway !== undefined && { gateway: Cidr.parse(`${gateway}/${prefix}`) }),
        auxAddresses: Object.fromEntries(
          Object.entries(aux)
            .filter(([, address]) => Cidr.parse(pool).family === (address.includes(":") ? 6 : 4))
            .filter(([, address]) => Cidr.parse(pool).contains(address))
            .map(([key, address]) => [key, Cidr.parse(`${address}/${prefix}`)]),
        ),
      };
    });
    const [ipv4, ipv6] = ([4, 6] as const).map((family) => data.filter(({ pool }) => pool?.family === family));
    const none = [{ addressSpace: "null", pool: Cidr.parse("0.0.0.0/0"), auxAddresses: {} }];
    return this.#driver().createNetwork(
      {
        networkId: networkId(name),
        options: {
          enableIPv4: withoutIpam || ipv4?.length !== 0,
          enableIPv6: !withoutIpam && ipv6?.length !== 0,
          internal,
          driverOpts: options,
          other: {},
        },
        ipv4: withoutIpam ? none : (ipv4 ?? []),
        ipv6: withoutIpam ? [] : (ipv6 ?? []),
      },
      this.#call,
    );
  }

  deleteNetwork(name: string): Promise<void> {
    return this.#driver().deleteNetwork({ networkId: networkId(name) }, this.#call);
  }

  /** @param given addresses with prefix length, one for each family at most, and perhaps a MAC address */
  createEndpoint(network: string, name: string, ...given: readonly string[]) {
    return this.createEndpointWith(network, name, {}, ...given);
  }

  /** @param driverOpts as `--network name=NETWORK,driver-opt=KEY=VALUE` */
  createEndpointWith(
    network: string,
    name: string,
    driverOpts: Readonly<Record<string, string>>,
    ...given: readonly string[]
  ) {
    const macs = given.filter((text) => !text.includes("/"));
    const addresses = given.filter((text) => text.includes("/")).map((text) => Cidr.parse(text));
    const [address, addressIPv6] = ([4, 6] as const).map((family) => addresses.find((each) => each.family === family));
    const [mac] = macs.map(parseMac);
    return this.#driver().createEndpoint(
      {
        networkId: networkId(network),
        endpointId: endpointId(name),
        interface: {
          ...(address && { address }),
          ...(addressIPv6 && { addressIPv6 }),
          ...(mac !== undefined && { macAddress: mac }),
        },
        options: { ...sandboxOptions, dnsServers: [], driverOpts },
      },
      this.#call,
    );
  }

  join(network: string, name: string, sandboxKey = `/var/run/docker/netns/${name}`) {
    return this.#driver().join({
      networkId: networkId(network),
      endpointId: endpointId(name),
      sandboxKey,
      options: sandboxOptions,
    });
  }

  leave(network: string, name: string): Promise<void> {
    return this.#driver().leave({ networkId: networkId(network), endpointId: endpointId(name) });
  }

  deleteEndpoint(network: string, name: string): Promise<void> {
    return this.#driver().deleteEndpoint({ networkId: networkId(network), endpointId: endpointId(name) });
  }
}
