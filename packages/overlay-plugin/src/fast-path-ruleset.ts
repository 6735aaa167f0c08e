// The fast path's table, as nft reads it: which frames pass the bridge by, and which of the others the host's connection
// tracking is not to see.
import type { NetworkId } from "@portolan/sdk";
import { portName, vxlanName } from "./naming.ts";
import type { EndpointRecord, NetworkRecord } from "./records.ts";

type Network = Pick<NetworkRecord, "id" | "floods">;
export type Port = Pick<EndpointRecord, "id" | "mac">;

const TABLES = "netdev portolan-overlay-";
export const fastPathTableOf = (network: NetworkId) => `${TABLES}${network.slice(0, 12)}`;
/** @param table with its family */
export const isFastPathTable = (table: string) => table.startsWith(TABLES);

const GROUP = "01:00:00:00:00:00";
const NO_GROUP = "00:00:00:00:00:00";
/** Chains that are in each table, beside those of ports. */
const CHAINS = ["outward", "inward"];

/** @param own the MAC addresses that are the host's in the network @param ports of containers whose links are there */
export function newTable(network: Network, own: readonly string[], ports: readonly Port[]): string {
  const table = fastPathTableOf(network.id);
  return `add table ${table}\ndelete table ${table}\n${wholeTable(network, own, ports)}`;
}

/**
 * All but what packets have put there, in one transaction: no frame finds it without, and each goes on the way that those
 * before it went. Refused where the table is another one. @param chains that it has
 */
export function renewedTable(
  network: Network,
  own: readonly string[],
  ports: readonly Port[],
  chains: readonly string[],
): string {
  const table = fastPathTableOf(network.id);
  const wanted = new Set([...CHAINS, ...ports.map((port) => portName(port.id))]);
  const gone = chains.filter((chain) => !wanted.has(chain)).map((chain) => withoutChain(table, chain));
  const emptied = ["set own", "set here", "map ports"].map((what) => `flush ${what.replace(" ", ` ${table} `)}\n`);
  return `flush table ${table}\n${gone.join("")}${emptied.join("")}${wholeTable(network, own, ports)}`;
}

/** A container's port has come. */
export function entering(network: Network, port: Port): string {
  const table = fastPathTableOf(network.id);
  const [here, behind] = elementsOf(table, port);
  return `add ${here}\nadd ${behind}\nadd chain ${table} ${portName(port.id)} ${portChain(network, port)}\n`;
}

/** It goes, or has gone. */
export function leaving(network: NetworkId, port: Port): string {
  const table = fastPathTableOf(network);
  const elements = elementsOf(table, port).map((element) => `delete ${element}\n`);
  return `${elements.join("")}${withoutChain(table, portName(port.id))}`;
}

/**
 * How long what came from another host is known to be there. In a network that learns an address may move unheard of: there it
 * is as long as the bridge would know it.
 */
const lifetime = ({ floods }: Network) => (floods ? "5m" : "1h");

/**
 * What came from another host is known to be there for a while, so that the first frame to it, and one to somebody who only
 * listens, is bridged. What is on this host is never taken for elsewhere: a container may just have moved here, and others may
 * lie about their address.
 *
 * What other hosts send to a container here never meets the host's connection tracking, so what is bridged to them must not
 * either: it would find a connection's answer, or its end, without a beginning, and many a firewall drops that. What the host
 * itself sends and gets is tracked, both ways, as is what its own containers send to each other, strangers among them: MAC
 * addresses behind a container's port that nobody told us of.
 */
function wholeTable(network: Network, own: readonly string[], ports: readonly Port[]): string {
  const { id } = network;
  const [table, vxlan] = [fastPathTableOf(id), vxlanName(id)];
  // Two containers may have been given one address: then it is the later one's, as on a bridge.
  const behind = new Map(ports.map((port) => [port.mac, portName(port.id)]));
  const here = new Set([...own, ...behind.keys()]);
  const told = [...behind].map(([mac, port]) => `${mac} : "${port}"`).join(", ");
  const untracked = `ether daddr & ${GROUP} == ${NO_GROUP} notrack`;
  return `table ${table} {
  set own {
    typeof ether daddr
    elements = { ${own.join(", ")} }
  }
  set here {
    typeof ether daddr
    elements = { ${[...here].join(", ")} }
  }
  set elsewhere {
    typeof ether saddr
    size 65535
    flags dynamic,timeout
    timeout ${lifetime(network)}
  }
  set strangers {
    typeof ether saddr
    size 4096
    flags dynamic,timeout
    timeout 1h
  }
  map ports {
    typeof ether daddr : meta iif
${told === "" ? "" : `    elements = { ${told} }\n`}  }
  chain outward {
    ether daddr @here accept
    ether daddr @elsewhere fwd to "${vxlan}"
    ether daddr @strangers accept
    ${untracked}
  }
  chain inward {
    type filter hook ingress device "${vxlan}" priority 0; policy accept;
    ether saddr & ${GROUP} != ${NO_GROUP} drop comment "nobody has a group's address"
    update @elsewhere { ether saddr }
    fwd to ether daddr map @ports
    ether daddr != @own ${untracked}
  }
${ports.map((port) => `  chain ${portName(port.id)} ${portChain(network, port)}\n`).join("")}}
`;
}

/** In a network that learns, an address that nobody told of has moved here as soon as a frame from it comes in, as on its bridge. */
function portChain({ floods }: Network, { id, mac }: Port): string {
  const strange = (what: string) => `    ether saddr != ${mac} ${what} { ether saddr }\n`;
  return `{
    type filter hook ingress device "${portName(id)}" priority 0; policy accept;
${strange("update @strangers")}${floods ? strange("delete @elsewhere") : ""}    goto outward
  }`;
}

const elementsOf = (table: string, { id, mac }: Port) => [
  `element ${table} here { ${mac} }`,
  `element ${table} ports { ${mac} : "${portName(id)}" }`,
];

/** Kernels before 6.16 remove the chain with its link, and nft before 1.0.6 removes only what is there: so it is. */
const withoutChain = (table: string, chain: string) =>
  `add chain ${table} ${chain}\nflush chain ${table} ${chain}\ndelete chain ${table} ${chain}\n`;
