// The IpamDriver vocabulary: one table of what each verb takes, locks and answers.
import type {
  IpamDriver,
  PoolRequest,
  ReleaseAddressRequest,
  RequestAddressRequest,
  RequestPoolReply,
  RequestPoolRequest,
} from "../ipam-driver.ts";
import { PluginError } from "../plugin-error.ts";
import type { PoolId } from "../values.ts";
import { address, boolean, cidr, opaqueId, mac, mapOf, string, type JsonObject } from "./decoders.ts";
import { defined, struct } from "./fields.ts";
import { poolLock, poolsLock } from "./lock-keys.ts";
import { entriesFor, type VerbTable } from "./verb.ts";

const ADDRESS_TYPE = "RequestAddressType";
const MAC_ADDRESS = "com.docker.network.endpoint.macaddress";
const SERIAL = "com.docker.network.ipam.serial";
const ENDPOINT_NAME = "com.docker.network.endpoint.name";

const requestPool = struct<RequestPoolRequest>((fields) =>
  defined({
    addressSpace: fields.optional("AddressSpace", string) ?? "",
    pool: fields.optional("Pool", cidr),
    subPool: fields.optional("SubPool", cidr),
    options: fields.optional("Options", mapOf(string)) ?? {},
    ipv6: fields.optional("V6", boolean) ?? false,
  }),
);

const requestAddress = struct<RequestAddressRequest>((fields) => {
  const options = fields.optional("Options", mapOf(string)) ?? {};
  const macText = options[MAC_ADDRESS];
  return defined({
    poolId: fields.required("PoolID", opaqueId<PoolId>()),
    address: fields.optional("Address", address),
    gateway: options[ADDRESS_TYPE] === "com.docker.network.gateway",
    serial: options[SERIAL] === "true",
    macAddress: macText ? mac(macText, fields.place.at("Options").at(MAC_ADDRESS)) : undefined,
    endpointName: options[ENDPOINT_NAME],
    options,
  });
});

const poolRequest = struct<PoolRequest>((fields) => ({ poolId: fields.required("PoolID", opaqueId<PoolId>()) }));

const releaseAddress = struct<ReleaseAddressRequest>((fields) => ({
  poolId: fields.required("PoolID", opaqueId<PoolId>()),
  address: fields.required("Address", address),
}));

/** dockerd takes the pool for the subnet itself, so host bits would end up in routes. */
function encodePool({ poolId, pool, data }: RequestPoolReply): JsonObject {
  if (pool.subnet.toString() !== pool.toString()) {
    throw new PluginError(`the driver answered pool ${pool.toString()}, which has host bits set`, {
      hint: `The subnet is ${pool.subnet.toString()}. This is a fault of the driver: report it to its authors.`,
    });
  }
  return defined({ PoolID: poolId, Pool: pool.toString(), Data: data });
}

const ofPool = {
  subject: ({ poolId }: PoolRequest) => ({ pool: poolId }),
  locks: ({ poolId }: PoolRequest) => poolLock(poolId),
};
const nothing = () => ({});

const { fixed, call } = entriesFor<IpamDriver>();

export const ipamVerbs = {
  "IpamDriver.GetCapabilities": fixed(({ capabilities }) => ({
    RequiresMACAddress: capabilities?.requiresMacAddress ?? false,
    RequiresRequestReplay: capabilities?.requiresRequestReplay ?? false,
  })),

  "IpamDriver.GetDefaultAddressSpaces": fixed(({ addressSpaces }) => ({
    LocalDefaultAddressSpace: addressSpaces.local,
    GlobalDefaultAddressSpace: addressSpaces.global,
  })),

  "IpamDriver.RequestPool": call("requestPool", {
    op: "request pool",
    decode: requestPool,
    subject: ({ pool }) => (pool === undefined ? {} : { pool: pool.toString() }),
    locks: poolsLock,
    encode: encodePool,
    whenMissing: "required",
  }),

  "IpamDriver.ReleasePool": call("releasePool", {
    op: "release pool",
    decode: poolRequest,
    subject: ofPool.subject,
    locks: poolsLock,
    encode: nothing,
    whenMissing: "required",
  }),

  "IpamDriver.RequestAddress": call("requestAddress", {
    op: "request address in pool",
    decode: requestAddress,
    ...ofPool,
    encode: ({ address: granted }) => ({ Address: granted.toString(), Data: {} }),
    whenMissing: "required",
  }),

  "IpamDriver.ReleaseAddress": call("releaseAddress", {
    op: "release address in pool",
    decode: releaseAddress,
    ...ofPool,
    encode: nothing,
    whenMissing: "required",
  }),
} satisfies VerbTable<IpamDriver>;
