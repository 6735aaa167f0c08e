// Traffic that goes on while a row does something to the host, to see whether anything of it gets lost.
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Host } from "./host.ts";
import { patience } from "./patience.ts";
import type { Service } from "./service.ts";
import type { StreamReport } from "./stream.ts";
import { eventually } from "./wait.ts";

/** Nobody's retransmission timer fires within this time unless packets were lost; milliseconds. */
const SILENCE = 1000 * patience;

export class Traffic {
  readonly #what: string;
  readonly #ping: Service;
  readonly #stream: Service;

  private constructor(what: string, ping: Service, stream: Service) {
    this.#what = what;
    this.#ping = ping;
    this.#stream = stream;
  }

  /** Starts pings and a TCP stream from the container to an address that answers on port 7. */
  static async start(host: Host, container: string, address: string): Promise<Traffic> {
    const words = await host.inNetworkOf(container);
    const log = `traffic-${container}-${address.replaceAll(/[.:]/g, "-")}-${host.services.size}`;
    const ping = await host.start(`${log}-ping`, [...words, "ping", "-n", "-i", "0.05", address]);
    const program = "/opt/portolan/e2e/lab/stream.ts";
    const stream = await host.start(`${log}-tcp`, [...words, "node", "--no-warnings", program, address]);
    await eventually(`echoes come back from ${address}`, async () => (await readFile(stream.log, "utf8")) !== "");
    return new Traffic(`from ${container} to ${address}`, ping, stream);
  }

  /** Ends the traffic and throws unless all of it came through. The last ping may be on its way when ping is stopped. */
  async expectUninterrupted(): Promise<void> {
    await Promise.all([this.#ping.stop("SIGINT"), this.#stream.stop("SIGTERM")]);
    const complaints = [
      ...pingComplaints(await readFile(this.#ping.log, "utf8")),
      ...streamComplaints(await readFile(this.#stream.log, "utf8")),
    ];
    if (complaints.length > 0) throw new Error(`traffic ${this.#what}: ${complaints.join("; ")}`);
  }
}

/** Does something while traffic runs from each container to its address, and throws unless all of it came through. */
export async function underTraffic(
  host: Host,
  paths: readonly (readonly [from: string, to: string])[],
  act: () => Promise<void>,
): Promise<void> {
  const traffic = await Promise.all(paths.map(([from, to]) => Traffic.start(host, from, to)));
  await sleep(500);
  await act();
  await sleep(500);
  for (const each of traffic) await each.expectUninterrupted();
}

function pingComplaints(said: string): string[] {
  const [, transmitted] = /(\d+) packets transmitted/.exec(said) ?? [];
  if (transmitted === undefined) return [`ping said ${JSON.stringify(said.slice(-500))}`];
  const sent = Number(transmitted);
  if (sent < 2) return [`ping sent only ${sent} packets`];
  const answered = new Set([...said.matchAll(/ icmp_seq=(\d+) ttl=/g)].map(([, number]) => Number(number)));
  const lost = Array.from({ length: sent - 1 }, (_, index) => index + 1).filter((number) => !answered.has(number));
  return lost.length > 0 ? [`of ${sent} pings these were lost: ${lost.join(", ")}`] : [];
}

function streamComplaints(said: string): string[] {
  const line = said.trimEnd().split("\n").at(-1) ?? "";
  if (!line.startsWith("{")) return [`the TCP stream said ${JSON.stringify(said)}`];
  const { broken, returned, longestSilence, silentAt } = JSON.parse(line) as StreamReport;
  if (broken !== null) return [`the TCP stream broke: ${broken}`];
  if (returned < 2) return [`only ${returned} bytes came back`];
  if (longestSilence <= SILENCE) return [];
  return [`the TCP stream was silent for ${longestSilence} ms, from ${silentAt} ms after its first echo on`];
}
