// Understands the docker commands of the recordings, as far as they matter to a network driver, and gives them to a
// fake dockerd.
import type { AttachOptions, ContainerOptions, NetworkOptions, PublishedPort, SubnetOptions } from "../dockerd/book.ts";
import { Cidr } from "../../values.ts";
import type { Exit, FakeDaemon } from "../fake-daemon.ts";

type Flags = Readonly<Record<string, readonly string[]>>;

/** Flags that stand alone; all others take the next word. */
const LONE = ["--rm", "--internal", "--ipv6", "--attachable", "-f", "-P"];

interface Words {
  readonly flags: Flags;
  readonly rest: readonly string[];
}

/** @param after how many words follow the flags before everything else is the container's own command */
function parse(words: readonly string[], after: number, lone: readonly string[] = LONE): Words {
  const flags: Record<string, string[]> = {};
  const rest: string[] = [];
  for (let at = 0; at < words.length && rest.length < after; at += 1) {
    const word = words[at] ?? "";
    if (!word.startsWith("-")) {
      rest.push(word);
      continue;
    }
    const [name = "", value] = word.split(/=(.*)/s);
    const given = value ?? (lone.includes(name) ? "true" : (words[(at += 1)] ?? ""));
    (flags[name] ??= []).push(given);
  }
  return { flags, rest };
}

const one = (flags: Flags, name: string): string | undefined => flags[name]?.[0];

const pairs = (values: readonly string[] = []): Record<string, string> =>
  Object.fromEntries(
    values.map((text) => (text.includes("=") ? text.split(/=(.*)/s).slice(0, 2) : [text, ""]) as [string, string]),
  );

/** Leaves out what was not given, as exact optional properties ask for. */
function given<T extends object>(values: { [Key in keyof T]: T[Key] | undefined }): T {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as T;
}

function networkOptions({ flags }: Words): NetworkOptions {
  const aux = pairs(flags["--aux-address"]);
  const subnets = (flags["--subnet"] ?? []).map((subnet) => {
    const pool = Cidr.parse(subnet);
    const inside = (flags["--gateway"] ?? []).find((address) => pool.contains(address));
    const range = (flags["--ip-range"] ?? []).find((text) => pool.overlaps(Cidr.parse(text)));
    const own = Object.entries(aux).filter(([, address]) => pool.contains(address));
    return given<SubnetOptions>({
      subnet,
      gateway: inside,
      ipRange: range,
      aux: own.length > 0 ? Object.fromEntries(own) : undefined,
    });
  });
  const ipam = one(flags, "--ipam-driver");
  return given<NetworkOptions>({
    driver: one(flags, "-d") === "bridge" ? "bridge" : "plugin",
    ipam: ipam === undefined ? "default" : ipam === "null" ? "null" : "plugin",
    ipamOptions: pairs(flags["--ipam-opt"]),
    subnets,
    ipv4: one(flags, "--ipv4") !== "false",
    ipv6: flags["--ipv6"] !== undefined,
    internal: flags["--internal"] !== undefined,
    options: pairs(flags["-o"]),
  });
}

function attachOptions({ flags }: Words): AttachOptions {
  return given<AttachOptions>({
    ip: one(flags, "--ip"),
    ip6: one(flags, "--ip6"),
    mac: one(flags, "--mac-address"),
    driverOpts: flags["--driver-opt"] && pairs(flags["--driver-opt"]),
    gwPriority: undefined,
  });
}

function containerOptions(words: Words): ContainerOptions {
  const { flags } = words;
  const exposed = (flags["--expose"] ?? []).map((port) => ({ port: Number(port) }));
  const network = one(flags, "--network") ?? "bridge";
  const long = network.includes("=") ? network.split(",").map((item) => item.split(/=(.*)/s)) : [];
  const named = (key: string): string | undefined => long.find(([name]) => name === key)?.[1];
  const driverOpts = long.filter(([name]) => name === "driver-opt").map(([, value = ""]) => value.toLowerCase());
  return given<ContainerOptions>({
    ...attachOptions(words),
    ip: named("ip") ?? one(flags, "--ip"),
    mac: named("mac-address") ?? one(flags, "--mac-address"),
    driverOpts: driverOpts.length > 0 ? pairs(driverOpts) : undefined,
    gwPriority: Number(named("gw-priority") ?? 0),
    network: named("name") ?? network,
    ports: [
      ...(flags["-p"] ?? []).flatMap(publishedPorts),
      ...(flags["-P"] ? exposed.map(({ port }) => ({ container: port })) : []),
    ],
    exposed,
    dns: flags["--dns"],
    restart: one(flags, "--restart") === "always" ? "always" : "no",
  });
}

/** `[IP:][HOST[-END]:]PORT[-END][/PROTOCOL]`, ranges of equal length expanded as the CLI does. */
function publishedPorts(text: string): PublishedPort[] {
  const [spec = "", protocol = "tcp"] = text.split("/");
  const found = /^(?:(\[.*\]|[\d.]*):)??(?:([\d-]*):)?([\d-]+)$/.exec(spec);
  if (!found) throw new Error(`cannot read the published port ${text}`);
  const [, hostIP, host = "", container = ""] = found;
  const [first = 0, last = first] = container.split("-").map(Number);
  const [hostFirst = 0, hostLast = hostFirst] = host === "" ? [] : host.split("-").map(Number);
  return Array.from({ length: last - first + 1 }, (_, index) =>
    given<PublishedPort>({
      protocol: protocol as "tcp" | "udp" | "sctp",
      container: first + index,
      host: hostFirst === 0 ? undefined : hostFirst + index,
      hostEnd: hostFirst === 0 || last > first ? undefined : hostLast,
      hostIP: hostIP === undefined || hostIP === "" ? undefined : hostIP.replaceAll(/[[\]]/g, ""),
    }),
  );
}

function splitWords(command: string): string[] {
  return [...command.matchAll(/"[^"]*"|'[^']*'|\S+/g)].map(([word]) => word);
}

/** Whether several containers are worked on at once, so that their calls interleave at random. */
export const isParallel = (command: string): boolean =>
  /^docker rm -f \S+ \S/.test(command) ||
  command.startsWith("docker network prune") ||
  /^(start|stop|kill) dockerd/.test(command);

/** Runs one recorded command; rejects where the real command failed. */
export async function runCommand(daemon: FakeDaemon, command: string, liveRestore: boolean): Promise<void> {
  const exit = (how: Exit): Exit => (liveRestore ? "live-restore" : how);
  if (command.startsWith("stop dockerd")) return daemon.stop(exit("graceful"));
  if (command.startsWith("kill dockerd")) return daemon.stop(exit("crash"));
  if (command.startsWith("start dockerd")) return daemon.start();
  const [, verb = "", ...words] = splitWords(command);
  if (verb === "network") return runNetworkCommand(daemon, words[0] ?? "", words.slice(1));
  if (verb === "run" || verb === "create") return runContainer(daemon, verb, words);
  const names = parse(words, Infinity).rest;
  if (verb === "rename") {
    daemon.renameContainer(names[0] ?? "", names[1] ?? "");
    return;
  }
  for (const name of names) {
    if (verb === "start") await daemon.startContainer(name);
    if (verb === "stop" || verb === "kill") await daemon.stopContainer(name);
    if (verb === "restart") {
      await daemon.stopContainer(name);
      await daemon.startContainer(name);
    }
    // `docker rm -f` of a container that is not there succeeds.
    if (verb === "rm" && daemon.containers.has(name)) await daemon.removeContainer(name);
  }
}

async function runNetworkCommand(daemon: FakeDaemon, verb: string, words: readonly string[]): Promise<void> {
  const parsed = parse(words, Infinity);
  const [first = "", second = ""] = parsed.rest;
  if (verb === "create") await daemon.createNetwork(first, networkOptions(parsed));
  if (verb === "connect") await daemon.connect(first, second, attachOptions(parsed));
  if (verb === "disconnect") await daemon.disconnect(first, second);
  if (verb === "rm") for (const name of parsed.rest) await daemon.removeNetwork(name);
  if (verb === "prune") {
    const names = [...daemon.networks.keys()].filter((name) => name !== "bridge");
    for (const name of names) await daemon.removeNetwork(name).catch(() => undefined);
  }
}

async function runContainer(daemon: FakeDaemon, verb: string, words: readonly string[]): Promise<void> {
  const parsed = parse(words, 1, [...LONE, "-d"]);
  const name = one(parsed.flags, "--name") ?? "unnamed";
  daemon.createContainer(name, containerOptions(parsed));
  if (verb === "create") return;
  await daemon.startContainer(name);
  if (parsed.flags["--rm"]) await daemon.removeContainer(name);
}
