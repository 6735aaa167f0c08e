// The requests that the checks make, in dockerd 28's words.
import { createHash } from "node:crypto";
import type { NetworkConformanceOptions } from "./subject.ts";

type Body = Readonly<Record<string, unknown>>;

/** Ids are 64 hex digits; these are always the same for the same name, so that a failed check can be repeated. */
export const idOf = (name: string): string => createHash("sha256").update(name).digest("hex");

const PORTS = {
  "com.docker.network.endpoint.exposedports": [{ Proto: 6, Port: 80 }],
  "com.docker.network.portmap": [{ Proto: 6, IP: "", Port: 80, HostIP: "", HostPort: 0, HostPortEnd: 0 }],
};

/** One network in the checks: its number decides its subnets. */
export interface SampleNetwork {
  readonly id: string;
  readonly number: number;
}

export interface SampleEndpoint {
  readonly id: string;
  readonly network: SampleNetwork;
  readonly address: string;
  readonly addressIPv6: string;
}

export const sampleNetwork = (number: number, name = `network ${number}`): SampleNetwork => ({
  id: idOf(name),
  number,
});

/** @param host the last part of its addresses, from 2 to 254 */
export const sampleEndpoint = (network: SampleNetwork, host: number, name = `endpoint ${host}`): SampleEndpoint => ({
  id: idOf(`${network.id} ${name}`),
  network,
  address: `10.${180 + network.number}.0.${host}/24`,
  addressIPv6: `fd00:180:${network.number}::${host.toString(16)}/64`,
});

export class Bodies {
  readonly #networkOptions: Readonly<Record<string, string>>;
  readonly #ipv6: boolean;

  constructor({ networkOptions = {}, ipv6 = true }: NetworkConformanceOptions) {
    this.#networkOptions = networkOptions;
    this.#ipv6 = ipv6;
  }

  createNetwork(
    { id, number }: SampleNetwork,
    more: { internal?: boolean; options?: Readonly<Record<string, string>> } = {},
  ): Body {
    const data = (pool: string, gateway: string): Body => ({
      AddressSpace: "LocalDefault",
      Gateway: gateway,
      Pool: pool,
    });
    return {
      NetworkID: id,
      Options: {
        "com.docker.network.enable_ipv4": true,
        "com.docker.network.enable_ipv6": this.#ipv6,
        "com.docker.network.generic": { ...this.#networkOptions, ...more.options },
        ...(more.internal && { "com.docker.network.internal": true }),
      },
      IPv4Data: [data(`10.${180 + number}.0.0/24`, `10.${180 + number}.0.1/24`)],
      IPv6Data: this.#ipv6 ? [data(`fd00:180:${number}::/64`, `fd00:180:${number}::1/64`)] : [],
    };
  }

  deleteNetwork({ id }: SampleNetwork): Body {
    return { NetworkID: id };
  }

  createEndpoint(endpoint: SampleEndpoint, mac = ""): Body {
    const Interface = {
      Address: endpoint.address,
      AddressIPv6: this.#ipv6 ? endpoint.addressIPv6 : "",
      MacAddress: mac,
    };
    return { ...this.endpoint(endpoint), Interface, Options: PORTS };
  }

  join(endpoint: SampleEndpoint): Body {
    const SandboxKey = `/var/run/docker/netns/${endpoint.id.slice(0, 12)}`;
    return { ...this.endpoint(endpoint), SandboxKey, Options: PORTS };
  }

  program(endpoint: SampleEndpoint): Body {
    const Options = { "com.docker.network.driver.private.no_proxy_6to4": false, ...PORTS };
    return { ...this.endpoint(endpoint), Options };
  }

  /** Leave, DeleteEndpoint, RevokeExternalConnectivity and EndpointOperInfo carry nothing but ids. */
  endpoint({ id, network }: SampleEndpoint): Body {
    return { NetworkID: network.id, EndpointID: id };
  }
}
