// The NetworkDriver vocabulary: one table of what each verb takes, locks and answers.
import type {
  AllocateNetworkRequest,
  CreateEndpointRequest,
  CreateNetworkRequest,
  DiscoveryRequest,
  EndpointRequest,
  GwAllocCheckRequest,
  JoinRequest,
  NetworkDriver,
  NetworkRequest,
  ProgramExternalConnectivityRequest,
} from "../network-driver.ts";
import type { EndpointId, NetworkId } from "../values.ts";
import { endpointInterface, ipamData } from "./addressing.ts";
import { boolean, id, integer, mapOf, string } from "./decoders.ts";
import { struct, type Fields } from "./fields.ts";
import { endpointLock, networkLock, nodesLock } from "./lock-keys.ts";
import { encodeCreateEndpoint, encodeJoin } from "./network-replies.ts";
import { endpointOptions, networkOptions, sandboxOptions } from "./options.ts";
import { entriesFor, type VerbTable } from "./verb.ts";

const networkId = (fields: Fields): NetworkId => fields.required("NetworkID", id<NetworkId>());
const endpointIds = (fields: Fields): EndpointRequest => ({
  networkId: networkId(fields),
  endpointId: fields.required("EndpointID", id<EndpointId>()),
});
const noOptions = {};

const networkRequest = struct<NetworkRequest>((fields) => ({ networkId: networkId(fields) }));
const endpointRequest = struct<EndpointRequest>(endpointIds);
const discovery = struct<DiscoveryRequest>((fields) => {
  fields.required("DiscoveryType", integer(1, 1)); // 1 is a node, the only type that dockerd passes on
  return { node: fields.required("DiscoveryData", node) };
});
const node = struct<DiscoveryRequest["node"]>((fields) => ({
  address: fields.optional("Address", string) ?? "",
  bindAddress: fields.optional("BindAddress", string) ?? "",
  self: fields.optional("Self", boolean) ?? false,
}));

const nothing = () => ({});
const ofNetwork = { subject: about, locks: (request: NetworkRequest) => networkLock(request.networkId) };
const ofEndpoint = {
  subject: about,
  locks: (request: EndpointRequest) => endpointLock(request.networkId, request.endpointId),
};

function about(request: NetworkRequest & Partial<EndpointRequest>) {
  const { networkId: network, endpointId: endpoint } = request;
  return endpoint === undefined ? { network } : { network, endpoint };
}

const { fixed, call } = entriesFor<NetworkDriver>();

export const networkVerbs = {
  "NetworkDriver.GetCapabilities": fixed((driver) => ({
    Scope: driver.capabilities.scope,
    ConnectivityScope: driver.capabilities.connectivityScope ?? driver.capabilities.scope,
    GwAllocChecker: typeof driver.gwAllocCheck === "function",
  })),

  "NetworkDriver.GwAllocCheck": call("gwAllocCheck", {
    op: "check gateway",
    decode: struct<GwAllocCheckRequest>((fields) => ({
      options: fields.optional("Options", networkOptions) ?? networkOptions(noOptions, fields.place),
    })),
    subject: nothing,
    locks: () => [],
    encode: (reply) => ({ SkipIPv4: reply.skipIPv4, SkipIPv6: reply.skipIPv6 }),
    whenMissing: () => ({ SkipIPv4: false, SkipIPv6: false }),
  }),

  "NetworkDriver.AllocateNetwork": call("allocateNetwork", {
    op: "allocate network",
    decode: struct<AllocateNetworkRequest>((fields) => ({
      networkId: networkId(fields),
      options: fields.optional("Options", mapOf(string)) ?? {},
      ipv4: fields.optional("IPv4Data", ipamData) ?? [],
      ipv6: fields.optional("IPv6Data", ipamData) ?? [],
    })),
    ...ofNetwork,
    encode: (options) => ({ Options: options }),
    // Every node gets what is answered here in place of the user's options, so these must come back.
    whenMissing: ({ options }) => ({ Options: options }),
  }),

  "NetworkDriver.FreeNetwork": call("freeNetwork", {
    op: "free network",
    decode: networkRequest,
    ...ofNetwork,
    encode: nothing,
    whenMissing: nothing,
  }),

  "NetworkDriver.CreateNetwork": call("createNetwork", {
    op: "create network",
    decode: struct<CreateNetworkRequest>((fields) => ({
      networkId: networkId(fields),
      options: fields.optional("Options", networkOptions) ?? networkOptions(noOptions, fields.place),
      ipv4: fields.optional("IPv4Data", ipamData) ?? [],
      ipv6: fields.optional("IPv6Data", ipamData) ?? [],
    })),
    ...ofNetwork,
    encode: nothing,
    whenMissing: "required",
    takenBackBy: "deleteNetwork",
  }),

  "NetworkDriver.DeleteNetwork": call("deleteNetwork", {
    op: "delete network",
    decode: networkRequest,
    ...ofNetwork,
    encode: nothing,
    whenMissing: "required",
  }),

  "NetworkDriver.CreateEndpoint": call("createEndpoint", {
    op: "create endpoint",
    decode: struct<CreateEndpointRequest>((fields) => ({
      ...endpointIds(fields),
      interface: fields.optional("Interface", endpointInterface) ?? {},
      options: fields.optional("Options", endpointOptions) ?? endpointOptions(noOptions, fields.place),
    })),
    ...ofEndpoint,
    encode: encodeCreateEndpoint,
    whenMissing: "required",
    takenBackBy: "deleteEndpoint",
  }),

  "NetworkDriver.DeleteEndpoint": call("deleteEndpoint", {
    op: "delete endpoint",
    decode: endpointRequest,
    ...ofEndpoint,
    encode: nothing,
    whenMissing: "required",
  }),

  "NetworkDriver.EndpointOperInfo": call("endpointInfo", {
    op: "inspect endpoint",
    decode: endpointRequest,
    ...ofEndpoint,
    encode: (info) => ({ Value: info }),
    whenMissing: () => ({ Value: {} }),
    // No engine shows the value anywhere, yet 20.10 and 26.1 refuse to start a container when this verb fails.
    insteadOfError: { Value: {} },
  }),

  "NetworkDriver.Join": call("join", {
    op: "join endpoint",
    decode: struct<JoinRequest>((fields) => ({
      ...endpointIds(fields),
      sandboxKey: fields.optional("SandboxKey", string) ?? "",
      options: fields.optional("Options", sandboxOptions) ?? sandboxOptions(noOptions, fields.place),
    })),
    ...ofEndpoint,
    encode: encodeJoin,
    whenMissing: "required",
  }),

  "NetworkDriver.Leave": call("leave", {
    op: "leave endpoint",
    decode: endpointRequest,
    ...ofEndpoint,
    encode: nothing,
    whenMissing: "required",
  }),

  "NetworkDriver.ProgramExternalConnectivity": call("programExternalConnectivity", {
    op: "publish ports of endpoint",
    decode: struct<ProgramExternalConnectivityRequest>((fields) => ({
      ...endpointIds(fields),
      options: fields.optional("Options", sandboxOptions) ?? sandboxOptions(noOptions, fields.place),
    })),
    ...ofEndpoint,
    encode: nothing,
    whenMissing: 404,
  }),

  "NetworkDriver.RevokeExternalConnectivity": call("revokeExternalConnectivity", {
    op: "withdraw ports of endpoint",
    decode: endpointRequest,
    ...ofEndpoint,
    encode: nothing,
    whenMissing: 404,
  }),

  "NetworkDriver.DiscoverNew": call("discoverNew", {
    op: "add node",
    decode: discovery,
    subject: nothing,
    locks: nodesLock,
    encode: nothing,
    whenMissing: nothing,
  }),

  "NetworkDriver.DiscoverDelete": call("discoverDelete", {
    op: "remove node",
    decode: discovery,
    subject: nothing,
    locks: nodesLock,
    encode: nothing,
    whenMissing: nothing,
  }),
} satisfies VerbTable<NetworkDriver>;
