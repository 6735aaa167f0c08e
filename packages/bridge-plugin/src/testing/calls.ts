// Calls as dockerd makes them, for tests: what a user wishes, as the driver's methods take it.
import { Cidr, type CallContext, type EndpointId, type NetworkId } from "@portolan/sdk";
import type { BridgeDriver } from "../driver.ts";
import { bindings } from "./bindings.ts";

export const networkId = (name: string) => Buffer.from(name).toString("hex").padEnd(64, "0") as NetworkId;
export const endpointId = (name: string) => Buffer.from(name).toString("hex").padEnd(64, "f") as EndpointId;

const sandboxOptions = { exposedPorts: [], portMap: [], noProxy6To4: false, other: {} };

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

export class Calls {
  /** How many creates found what they were to make. */
  repeats = 0;
  readonly #driver: () => BridgeDriver;
  readonly #call: CallContext = {
    verb: "test",
    call: 1,
    signal: new AbortController().signal,
    unknownFields: new Map(),
    madeBefore: () => (this.repeats += 1),
  };

  /** @param driver the one that lives now */
  constructor(driver: () => BridgeDriver) {
    this.#driver = driver;
  }

  createNetwork(name: string, wish: NetworkWish = {}): Promise<void> {
    const { subnet = "10.40.0.0/24", subnet6, onlyIPv6 = false, internal = false, options = {} } = wish;
    const { addressSpace = "LocalDefault" } = wish;
    const data = (text: string) => {
      const gateway = Cidr.parse(text.replace(/(?<=:)\/|0\/(?=\d+$)/, "1/"));
      return [{ addressSpace, pool: Cidr.parse(text), gateway, auxAddresses: {} }];
    };
    const families = { enableIPv4: !onlyIPv6, enableIPv6: subnet6 !== undefined };
    return this.#driver().createNetwork(
      {
        networkId: networkId(name),
        options: { ...families, internal, driverOpts: options, other: {} },
        ipv4: onlyIPv6 ? [] : data(subnet),
        ipv6: subnet6 === undefined ? [] : data(subnet6),
      },
      this.#call,
    );
  }

  deleteNetwork(name: string): Promise<void> {
    return this.#driver().deleteNetwork({ networkId: networkId(name) }, this.#call);
  }

  /** @param addresses one for each family at most, with prefix length */
  createEndpoint(network: string, name: string, ...addresses: readonly string[]) {
    return this.createEndpointWith({}, network, name, ...addresses);
  }

  /** @param driverOpts as behind `docker network connect --driver-opt` */
  createEndpointWith(
    driverOpts: Readonly<Record<string, string>>,
    network: string,
    name: string,
    ...addresses: readonly string[]
  ) {
    const [address, addressIPv6] = ([4, 6] as const).map((family) =>
      addresses.map((text) => Cidr.parse(text)).find((cidr) => cidr.family === family),
    );
    return this.#driver().createEndpoint(
      {
        networkId: networkId(network),
        endpointId: endpointId(name),
        interface: { ...(address && { address }), ...(addressIPv6 && { addressIPv6 }) },
        options: { ...sandboxOptions, dnsServers: [], driverOpts },
      },
      this.#call,
    );
  }

  /** @param ports as behind `docker run -p` */
  join(network: string, name: string, ports: readonly string[] = []) {
    return this.#driver().join({
      networkId: networkId(network),
      endpointId: endpointId(name),
      sandboxKey: `/var/run/docker/netns/${name}`,
      options: { ...sandboxOptions, portMap: bindings(...ports) },
    });
  }

  /** @param ports as behind `docker run -p` */
  publish(network: string, name: string, ports: readonly string[], noProxy6To4 = false): Promise<void> {
    return this.#driver().programExternalConnectivity({
      networkId: networkId(network),
      endpointId: endpointId(name),
      options: { ...sandboxOptions, portMap: bindings(...ports), noProxy6To4 },
    });
  }

  unpublish(network: string, name: string): Promise<void> {
    return this.#driver().revokeExternalConnectivity({ networkId: networkId(network), endpointId: endpointId(name) });
  }

  leave(network: string, name: string): Promise<void> {
    return this.#driver().leave({ networkId: networkId(network), endpointId: endpointId(name) });
  }

  deleteEndpoint(network: string, name: string): Promise<void> {
    return this.#driver().deleteEndpoint({ networkId: networkId(network), endpointId: endpointId(name) });
  }
}
