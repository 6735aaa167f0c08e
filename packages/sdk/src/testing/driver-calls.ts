// Calls of a network driver as dockerd makes them, but without a socket: what a user wishes, as the driver's methods take it.
import type { CallContext, CreateNetworkRequest, NetworkDriver, SandboxOptions } from "../network-driver.ts";
import { Cidr, parseMac, type EndpointId, type NetworkId } from "../values.ts";

/** As long as Docker's, and told from the name. */
export const networkId = (name: string): NetworkId => Buffer.from(name).toString("hex").padEnd(64, "0") as NetworkId;
export const endpointId = (name: string): EndpointId => Buffer.from(name).toString("hex").padEnd(64, "f") as EndpointId;

/** Of a container that publishes nothing. */
export const noPorts: SandboxOptions = { exposedPorts: [], portMap: [], noProxy6To4: false, other: {} };

/** Networks and endpoints are called by names. What a driver's own tests wish of a network and a join, they add. */
export abstract class DriverCalls<Driver extends NetworkDriver> {
  /** How many creates found what they were to make. */
  repeats = 0;
  /** The one that lives now. */
  protected readonly driver: () => Driver;
  readonly #call: CallContext = {
    verb: "test",
    call: 1,
    signal: new AbortController().signal,
    unknownFields: new Map(),
    madeBefore: () => (this.repeats += 1),
  };

  constructor(driver: () => Driver) {
    this.driver = driver;
  }

  protected create(name: string, request: Omit<CreateNetworkRequest, "networkId">): Promise<void> {
    return this.driver().createNetwork({ networkId: networkId(name), ...request }, this.#call);
  }

  deleteNetwork(name: string): Promise<void> {
    return this.driver().deleteNetwork({ networkId: networkId(name) }, this.#call);
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
    const addresses = given.filter((text) => text.includes("/")).map((text) => Cidr.parse(text));
    const [address, addressIPv6] = ([4, 6] as const).map((family) => addresses.find((each) => each.family === family));
    const [macAddress] = given.filter((text) => !text.includes("/")).map(parseMac);
    return this.driver().createEndpoint(
      {
        networkId: networkId(network),
        endpointId: endpointId(name),
        interface: {
          ...(address && { address }),
          ...(addressIPv6 && { addressIPv6 }),
          ...(macAddress !== undefined && { macAddress }),
        },
        options: { ...noPorts, dnsServers: [], driverOpts },
      },
      this.#call,
    );
  }

  leave(network: string, name: string): Promise<void> {
    return this.driver().leave({ networkId: networkId(network), endpointId: endpointId(name) }, this.#call);
  }

  deleteEndpoint(network: string, name: string): Promise<void> {
    return this.driver().deleteEndpoint({ networkId: networkId(network), endpointId: endpointId(name) }, this.#call);
  }
}
