// Opens the real kernel: the network namespace this process lives in.
import { Protocol } from "netlink";
import { NetlinkConntrack } from "./conntrack.ts";
import { IptablesForwardAccept } from "./forward-accept/forward-accept.ts";
import type { Kernel } from "./kernel.ts";
import { NftablesByLibrary } from "./nftables/nftables.ts";
import { SocketPorts } from "./port-reservation.ts";
import { RtAddresses } from "./rtnetlink/addresses.ts";
import { RtLinks } from "./rtnetlink/links.ts";
import { RtNeighbours } from "./rtnetlink/neighbours.ts";
import { Requests } from "./rtnetlink/requests.ts";
import { RtRoutes } from "./rtnetlink/routes.ts";
import { RtShaping } from "./rtnetlink/shaping.ts";
import { RtSandboxes } from "./rtnetlink/sandboxes.ts";
import { RtStackedLinks } from "./rtnetlink/stacked-links.ts";
import { RtStations } from "./rtnetlink/stations.ts";
import { ProcSysctls } from "./sysctls.ts";
import { WireGuard } from "./wireguard/wireguard.ts";

export interface OpenKernelOptions {
  /** The chain that `forwardAccept` keeps: drivers whose rules differ have one each. */
  readonly forwardChain?: string;
}

/**
 * Needs CAP_NET_ADMIN for whatever changes something, and the library libnftables.
 * @throws KernelError ENOENT, with the package to install, when libnftables is missing
 */
// eslint-disable-next-line @typescript-eslint/require-await -- opening may have to wait one day, and callers are ready for it
export async function openKernel({ forwardChain }: OpenKernelOptions = {}): Promise<Kernel> {
  const nftables = new NftablesByLibrary();
  const requests = new Requests();
  const links = new RtLinks(requests);
  const ports = new SocketPorts();
  const conntrackRequests = new Requests({}, Protocol.NETFILTER);
  const wireguard = new WireGuard(requests, links);
  return {
    links,
    stackedLinks: new RtStackedLinks(requests, links),
    sandboxes: new RtSandboxes(requests),
    addresses: new RtAddresses(requests, links),
    routes: new RtRoutes(requests, links),
    neighbours: new RtNeighbours(requests),
    stations: new RtStations(requests),
    nftables,
    sysctls: new ProcSysctls(),
    ports,
    conntrack: new NetlinkConntrack(conntrackRequests),
    shaping: new RtShaping(requests, links),
    tunnels: wireguard,
    forwardAccept: new IptablesForwardAccept(nftables, undefined, forwardChain),
    async [Symbol.asyncDispose]() {
      ports[Symbol.dispose]();
      links[Symbol.dispose]();
      requests[Symbol.dispose]();
      conntrackRequests[Symbol.dispose]();
      wireguard[Symbol.dispose]();
      await nftables[Symbol.asyncDispose]();
    },
  };
}
