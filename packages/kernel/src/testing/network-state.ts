// A picture of everything a driver may leave behind in a network namespace, to be compared with a later one.
import { readdir, readFile } from "node:fs/promises";
import { output } from "./command.ts";

/** What each command or file said, by its name. */
export type NetworkState = Readonly<Record<string, unknown>>;

const JSON_COMMANDS = [
  "ip -j link show",
  "ip -j address show",
  "ip -4 -j route show table all",
  "ip -6 -j route show table all",
  "ip -4 -j rule show",
  "ip -6 -j rule show",
  "ip -j neigh show nud permanent",
  "ip -j neigh show proxy",
];

/** iptables keeps its own counters in these, and a legacy table cannot be listed without making it. */
const LEGACY_TABLES = { "iptables-legacy": "ip_tables_names", "ip6tables-legacy": "ip6_tables_names" };

const SYSCTL_FOLDERS = ["ipv4", "ipv4/conf/all", "ipv4/conf/default", "ipv6/conf/all", "ipv6/conf/default", "bridge"];

/** Links, addresses, routes, rules, neighbours, the ruleset, legacy tables, named namespaces and settings. */
export async function networkState(): Promise<NetworkState> {
  const state: Record<string, unknown> = {};
  for (const command of JSON_COMMANDS) {
    const text = await output(command);
    state[command] = normalise(JSON.parse(text || "[]") as readonly Record<string, unknown>[]);
  }
  state["nft list ruleset"] = (await output("nft -s list ruleset")).trim();
  for (const [program, names] of Object.entries(LEGACY_TABLES)) {
    const tables = (await readOrNothing(`/proc/self/net/${names}`)).split("\n").filter((name) => name !== "");
    for (const table of tables) state[`${program} ${table}`] = rulesOnly(await output(`${program} -t ${table} -S`));
  }
  state["/run/netns"] = (await readdir("/run/netns").catch(() => [])).toSorted();
  for (const folder of SYSCTL_FOLDERS) state[folder] = await readSettings(`/proc/sys/net/${folder}`);
  return state;
}

/** Without what changes by itself: states of carriers, lifetimes, and the fields that follow from them. */
function normalise(objects: readonly Record<string, unknown>[]): unknown {
  const volatile = new Set(["flags", "operstate", "qlen", "stats", "stats64", "cacheinfo"]);
  const text = (object: Record<string, unknown>) =>
    JSON.stringify(object, (key, value: unknown) => (volatile.has(key) ? undefined : value));
  return objects.map(text).toSorted();
}

/** An empty table that accepts is the same as none: nobody can take it back. */
function rulesOnly(listing: string): string[] | undefined {
  const rules = listing.split("\n").filter((line) => line !== "" && !/^-P \S+ ACCEPT$/.test(line));
  return rules.length === 0 ? undefined : rules;
}

async function readSettings(folder: string): Promise<Record<string, string>> {
  const files = await readdir(folder, { withFileTypes: true }).catch(() => []);
  const settings = files.filter((file) => file.isFile() && !VOLATILE_SETTINGS.has(file.name));
  const values = settings.map(async ({ name }) => [name, await readOrNothing(`${folder}/${name}`)] as const);
  return Object.fromEntries(await Promise.all(values));
}

/** Written only, or counted by the kernel. */
const VOLATILE_SETTINGS = new Set(["flush", "tcp_fastopen_key", "stable_secret"]);

async function readOrNothing(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch {
    return "";
  }
}
