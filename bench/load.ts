// Clients and servers in network namespaces, with the machine's own programs.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { must } from "../e2e/lab/command.ts";

const CONNECTIONS = ["node", "--no-warnings", join(import.meta.dirname, "connections.ts")];

/** The words before a command that is to run in a network namespace. */
const inside = (namespace: string): string[] => ["nsenter", `--net=${namespace}`, "--"];

/** Answers what `connectionsPerSecond` asks, until disposed. */
export function serveConnections(namespace: string, port: number): Promise<AsyncDisposable> {
  return serve(namespace, [...CONNECTIONS, "serve", String(port)]);
}

/** Takes what `gigabitsPerSecond` sends, until disposed. */
export function serveIperf(namespace: string, port: number): Promise<AsyncDisposable> {
  return serve(namespace, ["iperf3", "--server", "--forceflush", "--port", String(port)]);
}

/** Starts a program, and waits until it has said something. Should this process be killed, the kernel kills it as well. */
async function serve(namespace: string, argv: readonly string[]): Promise<AsyncDisposable> {
  const words = ["--pdeathsig", "KILL", "--", ...inside(namespace), ...argv];
  const child = spawn("setpriv", words, { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(child, "exit");
  await Promise.race([once(child.stdout, "data"), ended]);
  if (child.exitCode !== null) throw new Error(`${argv.join(" ")} ended with ${child.exitCode}`);
  child.stdout.resume();
  return {
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** New TCP connections, one after the other, each with a byte there and back. */
export async function connectionsPerSecond(
  namespace: string,
  address: string,
  port: number,
  seconds: number,
): Promise<number> {
  return Number(await must([...inside(namespace), ...CONNECTIONS, "load", address, String(port), String(seconds)]));
}

/** What one TCP stream carries, as its receiver counts. */
export async function gigabitsPerSecond(
  namespace: string,
  address: string,
  port: number,
  seconds: number,
): Promise<number> {
  const argv = ["iperf3", "--json", "--client", address, "--port", String(port), "--time", String(seconds)];
  const report = JSON.parse(await must([...inside(namespace), ...argv])) as {
    readonly end: { readonly sum_received: { readonly bits_per_second: number } };
  };
  return report.end.sum_received.bits_per_second / 1e9;
}
