// What a suite needs of the machine it runs on. Where something is missing, the suite is skipped and its name says why.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { chosenEngines } from "./engines.ts";

export interface Needs {
  /** Kernel modules, by the names that modprobe knows. Built in is as good. */
  readonly modules?: readonly string[];
  /** Hosts of the lab. */
  readonly hosts?: number;
  /** Paths of programs of the machine. */
  readonly programs?: readonly string[];
  /** A Docker version of which the lab must make hosts, or its beginning. */
  readonly engine?: string;
  /** A machine under systemd, with Docker, that the suite may change and reboot: never the one you work on. */
  readonly systemd?: boolean;
  /** As many such machines, joined by a wire. */
  readonly machines?: number;
  /** Managed plugins, by their names: made where the suite runs, and brought along to a VM. */
  readonly plugins?: readonly string[];
  /** New network namespaces that forward IPv4, as dockerd's do on a host where it has turned that on. */
  readonly forwarding?: boolean;
  /** Nothing that could be missing: `make e2e-vm` runs the suite too, since what it says depends on the kernel. */
  readonly alsoInVm?: boolean;
}

/** `describe` where everything needed is there, else `describe.skip` with the reason behind the name. */
export function describeWith(needs: Needs, name: string, define: () => void): void {
  const missing = whatIsMissing(needs);
  if (missing.length === 0) describe(name, define);
  else describe.skip(`${name} (skipped: needs ${missing.join(", ")})`, define);
}

/** The longest suites come first: of a run whose minutes are over, what has not begun by then is short. */
function isTooLate({ PORTOLAN_UNTIL: until }: NodeJS.ProcessEnv): boolean {
  return until !== undefined && Date.now() / 1000 > Number(until);
}

/** The things that are not there, as a reader would name them. */
export function whatIsMissing(needs: Needs, environment: NodeJS.ProcessEnv = process.env): string[] {
  const { modules = [], programs = [], hosts = 0, engine, systemd = false, machines = 0, forwarding = false } = needs;
  const inside = environment.PORTOLAN_VM_MACHINE !== undefined;
  const joined = Number(environment.PORTOLAN_VM_MACHINES ?? (inside ? 1 : 0));
  return [
    ...(isTooLate(environment) ? ["more time than --minutes gave"] : []),
    ...((systemd || machines > 0) && !inside ? ["a machine of its own: make e2e-vm"] : []),
    ...(systemd && inside && !existsSync("/run/systemd/system") ? ["systemd"] : []),
    ...(inside && machines > joined ? [`${machines} machines`] : []),
    ...(hosts > 0 && process.getuid?.() !== 0 ? ["root"] : []),
    ...(engine !== undefined && !chosenEngines(environment).some(({ version }) => version.startsWith(engine))
      ? [`Docker ${engine}`]
      : []),
    ...programs.filter((path) => !existsSync(path)).map((path) => `the program ${path}`),
    // Loading modules into a machine that lacks the rest anyway would be for nothing.
    ...modules.filter((module) => !hasModule(module)).map((module) => `kernel module ${module}`),
    ...(forwarding && !newNamespacesForward() ? ["sysctl net.ipv4.ip_forward=1 outside of all namespaces"] : []),
  ];
}

/** A new one has what the machine's first one has, whatever is set where it is made. */
function newNamespacesForward(): boolean {
  const told = spawnSync("unshare", ["--net", "cat", "/proc/sys/net/ipv4/ip_forward"], { encoding: "utf8" });
  return told.stdout.trim() === "1";
}

/** Whether this machine's kernel has the module; loads it when it is not. */
export function hasModule(name: string): boolean {
  if (existsSync(`/sys/module/${name}`)) return true;
  if (spawnSync("modprobe", ["--quiet", name]).status === 0) return true;
  return (linkKinds[name] ?? neverBuiltIn)();
}

const neverBuiltIn = (): boolean => false;

/** A module without parameters leaves no trace in /sys when it is built in, but its links can be made. */
function canMake(...link: string[]): () => boolean {
  return () => {
    // Made in a namespace that goes with the command.
    const script = "ip link add probe0 type bridge && ip link add probe1 $0 && ip link show probe1";
    return spawnSync("unshare", ["--net", "sh", "-c", script.replace("$0", link.join(" "))]).status === 0;
  };
}

const linkKinds: Readonly<Record<string, () => boolean>> = {
  "8021q": canMake("link", "probe0", "type", "vlan", "id", "10"),
  macvlan: canMake("link", "probe0", "type", "macvlan"),
  ipvlan: canMake("link", "probe0", "type", "ipvlan"),
  dummy: canMake("type", "dummy"),
  wireguard: canMake("type", "wireguard"),
  vrf: canMake("type", "vrf", "table", "10"),
  ip_vs: () => existsSync("/proc/net/ip_vs"),
};
