// Calls as dockerd makes them, for tests: what a user wishes, as the driver's methods take it.
import { Cidr } from "@portolan/sdk";
import { DriverCalls, endpointId, networkId, noPorts } from "@portolan/sdk/testing";
import type { BridgeDriver } from "../driver.ts";
import { bindings } from "@portolan/ports/testing";

export { endpointId, networkId };

export interface NetworkWish {
  /** Its first address is the gateway. Default: 10.40.0.0/24. */
  readonly subnet?: string;
  readonly subnet6?: string;
  /** Without IPv4, as Docker 28 allows it. */
  readonly onlyIPv6?: boolean;
  readonly internal?: boolean;
  readonly addressSpace?: string;
  readonly options?: Readonly<Record<string, string>>;
}

export class Calls extends DriverCalls<BridgeDriver> {
  createNetwork(name: string, wish: NetworkWish = {}): Promise<void> {
    const { subnet = "10.40.0.0/24", subnet6, onlyIPv6 = false, internal = false, options = {} } = wish;
    const { addressSpace = "LocalDefault" } = wish;
    const data = (text: string) => {
      const gateway = Cidr.parse(text.replace(/(?<=:)\/|0\/(?=\d+$)/, "1/"));
      return [{ addressSpace, pool: Cidr.parse(text), gateway, auxAddresses: {} }];
    };
    const families = { enableIPv4: !onlyIPv6, enableIPv6: subnet6 !== undefined };
    return this.create(name, {
      options: { ...families, internal, driverOpts: options, other: {} },
      ipv4: onlyIPv6 ? [] : data(subnet),
      ipv6: subnet6 === undefined ? [] : data(subnet6),
    });
  }

  /** @param ports as behind `docker run -p` */
  join(network: string, name: string, ports: readonly string[] = []) {
    return this.driver().join({
      networkId: networkId(network),
      endpointId: endpointId(name),
      sandboxKey: `/var/run/docker/netns/${name}`,
      options: { ...noPorts, portMap: bindings(...ports) },
    });
  }

  /** @param ports as behind `docker run -p` */
  publish(network: string, name: string, ports: readonly string[], noProxy6To4 = false): Promise<void> {
    return this.driver().programExternalConnectivity({
      networkId: networkId(network),
      endpointId: endpointId(name),
      options: { ...noPorts, portMap: bindings(...ports), noProxy6To4 },
    });
  }

  unpublish(network: string, name: string): Promise<void> {
    return this.driver().revokeExternalConnectivity({ networkId: networkId(network), endpointId: endpointId(name) });
  }
}
