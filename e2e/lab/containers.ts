// Containers for the suites, and whether one reaches another. Every container serves HTTP on port 80, where it tells its
// name, and sends back on port 7 what it gets.
import { isIPv6 } from "node:net";
import type { Host } from "./host.ts";
import { image } from "./image.ts";

/** What every container of the suites runs. */
export const SERVE = "hostname > /www/index.html; nc -ll -p 7 -e cat & exec httpd -f -p 80 -h /www";

/** Starts a container called `name` with further flags of `docker run`. */
export async function runContainer(host: Host, name: string, ...flags: string[]): Promise<void> {
  await host.docker("run", "-d", "--init", "--name", name, "--hostname", name, ...flags, image, "sh", "-c", SERVE);
}

/** The container's address in a network. */
export async function addressIn(host: Host, network: string, container: string, family: 4 | 6 = 4): Promise<string> {
  const { NetworkSettings } = await inspect(host, container);
  return NetworkSettings.Networks[network]?.[family === 4 ? "IPAddress" : "GlobalIPv6Address"] ?? "";
}

/** A program inside the container; the output when it succeeded, else undefined. */
export async function execIn(host: Host, container: string, ...argv: string[]): Promise<string | undefined> {
  const { code, stdout } = await host.tryDocker("exec", container, ...argv);
  return code === 0 ? stdout.trimEnd() : undefined;
}

/** For a name or an address, which an IPv4 address or a name may follow with a port. */
function url(target: string): string {
  return isIPv6(target) ? `http://[${target}]/` : `http://${target}/`;
}

/** What the target's web server says to the container. Throws when it says nothing within `seconds`. */
export async function fetchFrom(host: Host, container: string, target: string, seconds = 3): Promise<string> {
  return host.docker("exec", container, "wget", "-q", "-O-", `-T${seconds}`, url(target));
}

const PING = "ping -c1";
const FETCH = "wget -q -O-";

/** Expects that `container` reaches each target with ICMP and with TCP. */
export async function expectReach(host: Host, container: string, ...targets: string[]): Promise<void> {
  const asks = targets.flatMap((target) => [`${PING} -W3 ${target}`, `${FETCH} -T3 ${url(target)}`]);
  // In one go: Docker takes longer to start a program in a container than the program to ask. The shell tells what it tries.
  await host.docker("exec", container, "sh", "-xec", asks.join("\n"));
}

/** Expects that `container` reaches none of the targets, neither with ICMP nor with TCP; takes about a second. */
export async function expectNoReach(host: Host, container: string, ...targets: string[]): Promise<void> {
  const asks = targets.flatMap((target) => [
    `${PING} -W1 ${target} >/dev/null 2>&1 && echo ${target} with ping &`,
    `${FETCH} -T1 ${url(target)} >/dev/null 2>&1 && echo ${url(target)} &`,
  ]);
  const reached = await host.docker("exec", container, "sh", "-c", [...asks, "wait"].join("\n"));
  if (reached !== "") throw new Error(`${container} reaches what it must not reach: ${reached.replaceAll("\n", ", ")}`);
}

export async function isRunning(host: Host, container: string): Promise<boolean> {
  return (await inspect(host, container)).State.Running;
}

/** What `docker inspect` tells of a container, as far as the suites look at it. */
interface Inspected {
  readonly State: { readonly Running: boolean };
  readonly NetworkSettings: {
    readonly Networks: Readonly<Record<string, { readonly IPAddress: string; readonly GlobalIPv6Address: string }>>;
  };
}

function inspect(host: Host, container: string): Promise<Inspected> {
  return host.askDocker(`/containers/${container}/json`);
}
