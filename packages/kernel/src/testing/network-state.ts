// A picture of everything a driver may leave behind in a network namespace, to be compared with a later one.
import { readdir, readFile } from "node:fs/promises";
import { output } from "./command.ts";

/** What each command or file said, by its name. */
export type NetworkState = Readonly<Record<string, unknown>>;

const COMMANDS = [
  "link show",
  "address show",
  "route show table all",
  "rule show",
  "neigh show nud permanent",
  "neigh show proxy",
];

/** Which files tell whether there is a legacy table: the programs would make it. */
const LEGACY_TABLES = { "iptables-legacy": "ip_tables_names", "ip6tables-legacy": "ip6_tables_names" };

const SYSCTL_FOLDERS = ["ipv4", "ipv4/conf/all", "ipv4/conf/default", "ipv6/conf/all", "ipv6/conf/default", "bridge"];

/** Links, addresses, routes, rules, neighbours, the ruleset, legacy tables, named namespaces and settings. */
export async function networkState(): Promise<NetworkState> {
  const state: Record<string, unknown> = {};
  for (const family of ["-4", "-6"]) {
    const lines = (await output(`ip ${family} -j -batch -`, `${COMMANDS.join("\n")}\n`)).split("\n");
    for (const [index, command] of COMMANDS.entries()) {
      const objects = JSON.parse(lines[index] ?? "") as readonly Record<string, unknown>[];
      state[`ip ${family} ${command}`] = objects.map(withoutVolatile).toSorted();
    }
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

/** What changes by itself: states of carriers, lifetimes, and the fields that follow from them. */
const VOLATILE = new Set(["flags", "operstate", "qlen", "stats", "stats64", "cacheinfo"]);

function withoutVolatile(object: Record<string, unknown>): string {
  return JSON.stringify(object, (key, value: unknown) => (VOLATILE.has(key) ? undefined : value));
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
