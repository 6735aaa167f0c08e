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
  const field = family === 4 ? "IPAddress" : "GlobalIPv6Address";
  return host.docker(
    "inspect",
    "-f",
    `{{with index .NetworkSettings.Networks "${network}"}}{{.${field}}}{{end}}`,
    container,
  );
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

/** Expects that `container` reaches each target with ICMP and with TCP. */
export async function expectReach(host: Host, container: string, ...targets: string[]): Promise<void> {
  for (const target of targets) {
    await host.docker("exec", container, "ping", "-c1", "-W3", target);
    await fetchFrom(host, container, target);
  }
}

/** Expects that `container` reaches none of the targets, neither with ICMP nor with TCP; takes about a second. */
export async function expectNoReach(host: Host, container: string, ...targets: string[]): Promise<void> {
  const reached = await Promise.all(
    targets.flatMap((target) => [
      execIn(host, container, "ping", "-c1", "-W1", target).then((text) => text !== undefined && `${target} with ping`),
      execIn(host, container, "wget", "-q", "-O-", "-T1", url(target)).then(
        (text) => text !== undefined && url(target),
      ),
    ]),
  );
  const wrong = reached.filter((what) => what !== false);
  if (wrong.length > 0) throw new Error(`${container} reaches what it must not reach: ${wrong.join(", ")}`);
}

export async function isRunning(host: Host, container: string): Promise<boolean> {
  return (await host.docker("inspect", "-f", "{{.State.Running}}", container)) === "true";
}
