// Who reaches a published port, and from where: this host, a host beside it, and containers.
import { isIPv6 } from "node:net";
import { execIn, runContainer } from "./containers.ts";
import type { Engine } from "./engines.ts";
import { Host } from "./host.ts";
import { eventually } from "./wait.ts";

/** A host on the same wire, without dockerd. */
export function remoteHost(host: Host, engine: Engine): Promise<Host> {
  return Host.up(host.lab, { name: "remote", engine });
}

/** Waits until a container's web server serves: what does not answer then is not its fault. */
export async function untilServing(host: Host, name: string): Promise<void> {
  await eventually(`${name} serves`, async () => (await askFrom(host, name, "127.0.0.1", 80)) === name);
}

/** As `runContainer`, until it serves. */
export async function runServer(host: Host, name: string, ...flags: string[]): Promise<void> {
  await runContainer(host, name, ...flags);
  await untilServing(host, name);
}

function url(address: string, port: number): string {
  return `http://${isIPv6(address) ? `[${address}]` : address}:${port}/`;
}

/** What the web server behind an address says to a host; undefined when it says nothing within two seconds. */
export async function ask(from: Host, address: string, port: number): Promise<string | undefined> {
  const { code, stdout } = await from.exec(["curl", "-g", "-s", "--max-time", "2", url(address, port)]);
  return code === 0 ? stdout.trimEnd() : undefined;
}

/** As `ask`, from inside a container. */
export function askFrom(host: Host, container: string, address: string, port: number): Promise<string | undefined> {
  return execIn(host, container, "wget", "-q", "-O-", "-T2", url(address, port));
}

/** Lines of `ts-bridge ports`. */
export async function portsTable(host: Host): Promise<readonly string[]> {
  const table = await host.must(["node", "/opt/portolan/packages/bridge-plugin/dist/main.js", "ports"]);
  return table.split("\n").slice(1);
}

/** The host port that leads to a container port, as the driver's table has it. */
export async function hostPortOf(host: Host, containerPort: number): Promise<number> {
  const line = (await portsTable(host)).find((row) => new RegExp(`:${containerPort} `).test(row));
  const [, port] = /:(\d+)\/\w+/.exec(line ?? "") ?? [];
  if (port === undefined) throw new Error(`no host port leads to port ${containerPort}`);
  return Number(port);
}
