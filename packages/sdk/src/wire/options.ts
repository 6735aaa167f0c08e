// The `Options` of requests: Docker's `com.docker.network.*` labels, decoded once for engines 20.10 to 28.5.
import type {
  EndpointOptions,
  ExposedPort,
  NetworkOptions,
  PortBinding,
  Protocol,
  SandboxOptions,
} from "../network-driver.ts";
import { parseMac, type Mac } from "../values.ts";
import { address, anything, boolean, integer, listOf, mapOf, string, type Decoder } from "./decoders.ts";
import { defined, struct, type Fields } from "./fields.ts";

const GENERIC = "com.docker.network.generic";
const EXPOSED_PORTS = "com.docker.network.endpoint.exposedports";
const PORT_MAP = "com.docker.network.portmap";
const NO_PROXY_6TO4 = "com.docker.network.driver.private.no_proxy_6to4";

const PROTOCOLS: ReadonlyMap<number, Protocol> = new Map([
  [1, "icmp"],
  [6, "tcp"],
  [17, "udp"],
  [132, "sctp"],
]);

const protocol: Decoder<Protocol> = (value, place) => {
  const number = integer(0, 255)(value, place);
  return PROTOCOLS.get(number) ?? number;
};
const port = integer(0, 65535);

const exposedPort = struct<ExposedPort>((fields) => ({
  protocol: fields.required("Proto", protocol),
  port: fields.required("Port", port),
}));

const portBinding = struct<PortBinding>((fields) => {
  fields.optional("IP", anything); // the container's address, which dockerd always leaves empty
  const hostPort = fields.optional("HostPort", port) ?? 0;
  const hostPortEnd = fields.optional("HostPortEnd", port) ?? 0;
  if (hostPortEnd !== 0 && hostPortEnd < hostPort) {
    throw fields.place.at("HostPortEnd").refuse(`${hostPortEnd} is below HostPort, which is ${hostPort}`);
  }
  return defined({
    protocol: fields.required("Proto", protocol),
    containerPort: fields.required("Port", port),
    hostAddress: fields.optional("HostIP", address),
    hostPort,
    hostPortEnd: hostPortEnd === 0 ? hostPort : hostPortEnd,
  });
});

/** dockerd sends a MAC that the user chose as Go writes six bytes: in base64. */
const base64Mac: Decoder<Mac> = (value, place) => {
  const text = string(value, place);
  const bytes = Buffer.from(text, "base64");
  if (bytes.length !== 6) throw place.refuse("expected a MAC address as six bytes in base64");
  return parseMac(bytes.toString("hex").replace(/(..)(?=.)/g, "$1:"));
};

export const networkOptions = struct<NetworkOptions>(
  (fields) => ({
    enableIPv4: fields.optional("com.docker.network.enable_ipv4", boolean) ?? true,
    enableIPv6: fields.optional("com.docker.network.enable_ipv6", boolean) ?? false,
    internal: fields.optional("com.docker.network.internal", boolean) ?? false,
    driverOpts: fields.optional(GENERIC, mapOf(string)) ?? {},
    other: others(fields, fields.rest()),
  }),
  "exact",
);

function ports(fields: Fields): Omit<SandboxOptions, "other"> {
  return {
    exposedPorts: fields.optional(EXPOSED_PORTS, listOf(exposedPort)) ?? [],
    portMap: fields.optional(PORT_MAP, listOf(portBinding)) ?? [],
    noProxy6To4: fields.optional(NO_PROXY_6TO4, boolean) ?? false,
  };
}

/** What Join and ProgramExternalConnectivity carry: the labels of the sandbox. */
export const sandboxOptions = struct<SandboxOptions>(
  (fields) => ({ ...ports(fields), other: others(fields, fields.rest()) }),
  "exact",
);

/** What CreateEndpoint carries: its driver options stand between Docker's own labels, told apart by being strings. */
export const endpointOptions = struct<EndpointOptions>((fields) => {
  const known = {
    ...ports(fields),
    macAddress: fields.optional("com.docker.network.endpoint.macaddress", base64Mac),
    dnsServers: fields.optional("com.docker.network.endpoint.dnsservers", listOf(string)) ?? [],
  };
  const rest = fields.rest();
  const isDriverOpt = (entry: readonly [string, unknown]): entry is readonly [string, string] =>
    typeof entry[1] === "string";
  return defined({
    ...known,
    driverOpts: Object.fromEntries(rest.filter(isDriverOpt)),
    other: others(
      fields,
      rest.filter((entry) => !isDriverOpt(entry)),
    ),
  });
}, "exact");

/** Keeps options that this SDK does not know and reports them, except the legacy links that 20.10 sends under `generic`. */
function others(fields: Fields, entries: readonly (readonly [string, unknown])[]): Record<string, unknown> {
  for (const [name, value] of entries) {
    if (name !== GENERIC) fields.place.unknownFields.set(fields.place.at(name).path, value);
  }
  return Object.fromEntries(entries);
}
