// The IpamDriver vocabulary as driver authors see it: requests already decoded, replies not yet encoded.
import type { CallContext } from "./network-driver.ts";
import type { Cidr, Mac, PoolId } from "./values.ts";

export interface IpamCapabilities {
  /** dockerd then makes up a MAC address before it asks for an address, and sends it along. */
  readonly requiresMacAddress: boolean;
  /** dockerd then repeats its pools and addresses at every start. */
  readonly requiresRequestReplay: boolean;
}

export interface AddressSpaces {
  readonly local: string;
  readonly global: string;
}

export interface RequestPoolRequest {
  readonly addressSpace: string;
  /** `--subnet`. Unset: choose one that is free. A size hint such as 0.0.0.0/24 arrives here too. */
  readonly pool?: Cidr;
  /** `--ip-range`. */
  readonly subPool?: Cidr;
  /** `--ipam-opt`. */
  readonly options: Readonly<Record<string, string>>;
  readonly ipv6: boolean;
}

export interface RequestPoolReply {
  /** Derived from address space and pool, never random: dockerd may not store a changed one. */
  readonly poolId: PoolId;
  readonly pool: Cidr;
  /** Only `com.docker.network.gateway` is read by dockerd. */
  readonly data?: Readonly<Record<string, string>>;
}

export interface PoolRequest {
  readonly poolId: PoolId;
}

export interface RequestAddressRequest extends PoolRequest {
  /** A particular address, without prefix length. Unset: choose one that is free. */
  readonly address?: string;
  readonly gateway: boolean;
  /** Swarm's allocator asks for one address after the other rather than the lowest. */
  readonly serial: boolean;
  readonly macAddress?: Mac;
  /** Told by engines newer than 28. */
  readonly endpointName?: string;
  readonly options: Readonly<Record<string, string>>;
}

export interface RequestAddressReply {
  /** With the pool's prefix length. */
  readonly address: Cidr;
}

export interface ReleaseAddressRequest extends PoolRequest {
  readonly address: string;
}

/** A Docker IPAM driver. Releases of what is not held are successes. */
export interface IpamDriver {
  readonly capabilities?: IpamCapabilities;
  readonly addressSpaces: AddressSpaces;
  requestPool(request: RequestPoolRequest, call: CallContext): Promise<RequestPoolReply>;
  releasePool(request: PoolRequest, call: CallContext): Promise<void>;
  requestAddress(request: RequestAddressRequest, call: CallContext): Promise<RequestAddressReply>;
  releaseAddress(request: ReleaseAddressRequest, call: CallContext): Promise<void>;
}
