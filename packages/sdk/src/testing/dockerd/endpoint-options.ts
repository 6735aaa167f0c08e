// The `com.docker.network.*` options that dockerd writes into CreateEndpoint, Join and ProgramExternalConnectivity.
import type { AttachOptions, BookNetwork, ContainerOptions } from "./book.ts";
import { goMap } from "./networks.ts";

const EXPOSED = "com.docker.network.endpoint.exposedports";
const PORT_MAP = "com.docker.network.portmap";
const PROTOCOLS = { tcp: 6, udp: 17, sctp: 132 } as const;

/** What concerns one endpoint; the only place where its driver options ever appear. */
export function endpointOptions(
  network: BookNetwork,
  container: ContainerOptions,
  attach: AttachOptions,
  portsTaken: boolean,
): Record<string, unknown> {
  const options = {
    ...attach.driverOpts,
    ...(attach.mac !== undefined && { "com.docker.network.endpoint.macaddress": base64(attach.mac) }),
  };
  // Internal networks publish nothing; nor is anything left when another endpoint has published already.
  if (network.internal || portsTaken) return goMap<unknown>(options);
  const dns = container.dns ?? [];
  return goMap<unknown>({
    ...options,
    ...portOptions(container),
    ...(dns.length > 0 && { "com.docker.network.endpoint.dnsservers": dns }),
  });
}

/** What concerns the container as a whole: its ports, whichever network they end up on. */
export function sandboxOptions(
  container: ContainerOptions,
  more: Readonly<Record<string, unknown>> = {},
): Record<string, unknown> {
  return goMap<unknown>({ ...portOptions(container), ...more });
}

function portOptions({ ports = [], exposed = [] }: ContainerOptions): Record<string, unknown> {
  const all = [...ports.map(({ container, protocol }) => ({ port: container, protocol })), ...exposed];
  const unique = new Map(
    all.map(({ port, protocol = "tcp" }) => [`${port}/${protocol}`, { Proto: PROTOCOLS[protocol], Port: port }]),
  );
  return {
    [EXPOSED]: [...unique.values()],
    [PORT_MAP]: ports.map(({ protocol = "tcp", container, hostIP = "", host = 0, hostEnd = host }) => ({
      Proto: PROTOCOLS[protocol],
      IP: "",
      Port: container,
      HostIP: hostIP,
      HostPort: host,
      HostPortEnd: hostEnd,
    })),
  };
}

/** Go writes a byte slice, which a MAC address is, in base 64. */
function base64(mac: string): string {
  return Buffer.from(mac.replaceAll(":", ""), "hex").toString("base64");
}
