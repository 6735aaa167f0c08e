// Everything about a host that a network can leave behind, as sentences that can be compared.
import { readdirSync, readFileSync } from "node:fs";
import { cgroupsUnder } from "./cgroups.ts";
import type { Host } from "./host.ts";
import { rulesetFacts } from "./nftables.ts";

/** Folders whose files come and go with plugins. Not /run/docker/netns: dockerd sweeps it once a minute only. */
const FOLDERS = ["/run/docker/plugins", "/run/netns", "/run/portolan"];

/** The looks that programs take, in one go: entering a host costs more than each of them. */
const LOOKS = [
  "ip -json -details link",
  "ip -json address",
  "ip -json neighbour show nud permanent",
  "ip -json -4 route show table all",
  "ip -json -6 route show table all",
  "ip -json -4 rule",
  "ip -json -6 rule",
  "nft --stateless list ruleset",
  "iptables-save",
  "ip6tables-save",
];
const BETWEEN = "-- next look --";

interface Link {
  readonly ifname: string;
  readonly mtu: number;
  readonly master?: string;
  readonly linkinfo?: { readonly info_kind?: string };
}
interface Interface {
  readonly ifname: string;
  readonly addr_info: readonly { readonly local: string; readonly prefixlen: number; readonly scope: string }[];
}
type Words = Readonly<Record<string, unknown>>;

/** Sorted sentences such as "link docker0 (bridge, mtu 1500)". What the kernel counts or measures is left out. */
export async function snapshot(host: Host): Promise<readonly string[]> {
  const told = await host.must(["sh", "-ec", LOOKS.join(`\necho ${BETWEEN}\n`)]);
  const [links, addresses, neighbours, routes4, routes6, rules4, rules6, ruleset = "", iptables = "", ip6tables = ""] =
    told.split(`${BETWEEN}\n`);
  return [
    ...read<Link>(links).map(linkFact),
    ...read<Interface>(addresses).flatMap(addressFacts),
    ...[...read<Words>(routes4), ...read<Words>(routes6)]
      .filter(notLinkLocal)
      .map((route) => `route ${words(route, "flags", "metrics")}`),
    ...read<Words>(rules4).map((rule) => `IPv4 rule ${words(rule)}`),
    ...read<Words>(rules6).map((rule) => `IPv6 rule ${words(rule)}`),
    ...read<Words>(neighbours).map((entry) => `permanent neighbour ${words(entry)}`),
    ...rulesetFacts(ruleset).map((fact) => `nftables ${fact}`),
    ...iptablesFacts("iptables", iptables),
    ...iptablesFacts("ip6tables", ip6tables),
    ...FOLDERS.flatMap((folder) => fileFacts(host, folder)),
    ...mountFacts(host),
    ...cgroupsUnder(host.lab.cgroupOf(host.name)).map((name) => `cgroup ${name}`),
  ].sort();
}

/** What `ip -json` said, which is nothing at all when there is nothing to tell. */
function read<T>(json = ""): T[] {
  return JSON.parse(json.trim() || "[]") as T[];
}

function linkFact({ ifname, mtu, master, linkinfo }: Link): string {
  const of = [linkinfo?.info_kind ?? "plain", ...(master ? [`on ${master}`] : []), `mtu ${mtu}`];
  return `link ${ifname} (${of.join(", ")})`;
}

/** Without link-local addresses: a bridge has one only from the day when something was plugged into it. */
function addressFacts({ ifname, addr_info }: Interface): string[] {
  const lasting = addr_info.filter(({ scope }) => scope !== "link");
  return lasting.map(({ local, prefixlen }) => `address ${local}/${prefixlen} on ${ifname}`);
}

function notLinkLocal({ dst }: Words): boolean {
  return !/^(fe80:|ff00:)/.test(String(dst));
}

/** An object of `ip -json` as words. Flags tell whether a link has a carrier, which is not what we are after. */
function words(object: Words, ...without: string[]): string {
  const kept = Object.entries(object).filter(([key]) => !["flags", ...without].includes(key));
  return kept.map(([key, value]) => `${key} ${typeof value === "string" ? value : JSON.stringify(value)}`).join(" ");
}

/** Rules and chains with their table. A table's own chains are there as soon as anyone has looked into the table. */
function iptablesFacts(program: string, saved: string): string[] {
  let table = "";
  return saved.split("\n").flatMap((line) => {
    const [, chain, policy] = /^:(\S+) (\S+)/.exec(line) ?? [];
    if (line.startsWith("*")) table = line.slice(1);
    if (line.startsWith("-A")) return [`${program} ${table}: ${line}`];
    return chain === undefined || policy === "ACCEPT"
      ? []
      : [`${program} ${table}: chain ${chain}, policy ${policy ?? "-"}`];
  });
}

function fileFacts(host: Host, folder: string): string[] {
  try {
    return readdirSync(host.path(folder)).map((name) => `file ${folder}/${name}`);
  } catch {
    return []; // nothing has needed the folder yet
  }
}

function mountFacts(host: Host): string[] {
  const lines = readFileSync(`/proc/${host.pid}/mountinfo`, "utf8").trimEnd().split("\n");
  return lines.map((line) => `mount ${line.split(" ")[4] ?? ""}`);
}
