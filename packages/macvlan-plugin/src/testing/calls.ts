// Calls as dockerd makes them, for tests: what a user wishes, as the driver's methods take it.
import { Cidr, type IpamData } from "@portolan/sdk";
import { DriverCalls, endpointId, networkId, noPorts } from "@portolan/sdk/testing";
import type { LanDriver } from "../driver.ts";

export { endpointId, networkId };

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

export class Calls extends DriverCalls<LanDriver> {
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
    return this.create(name, {
      options: {
        enableIPv4: withoutIpam || ipv4?.length !== 0,
        enableIPv6: !withoutIpam && ipv6?.length !== 0,
        internal,
        driverOpts: options,
        other: {},
      },
      ipv4: withoutIpam ? none : (ipv4 ?? []),
      ipv6: withoutIpam ? [] : (ipv6 ?? []),
    });
  }

  join(network: string, name: string, sandboxKey = `/var/run/docker/netns/${name}`) {
    return this.driver().join({
      networkId: networkId(network),
      endpointId: endpointId(name),
      sandboxKey,
      options: noPorts,
    });
  }
}
