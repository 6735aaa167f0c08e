// The same load on several servers in turn, each in a container.
import type { BenchHost } from "./bench-host.ts";
import { alternate } from "./comparison.ts";
import { median } from "./figures.ts";
import type { serveConnections } from "./load.ts";

export interface Served {
  readonly host: BenchHost;
  readonly container: string;
  /** Of the container, and published as the host's port of the same number. */
  readonly port: number;
}

/** @returns the median for each of `servers`, in their order */
export async function alternatingLoad<T extends Served>(
  rounds: number,
  serve: typeof serveConnections,
  servers: readonly T[],
  measure: (server: T) => Promise<number>,
): Promise<readonly number[]> {
  await using running = new AsyncDisposableStack();
  for (const { host, container, port } of servers) {
    running.use(await serve((await host.placeOf(container)).namespace, port));
  }
  const values = new Map(servers.map((server) => [server, [] as number[]]));
  await alternate(rounds, servers, async (server) => void values.get(server)?.push(await measure(server)));
  return [...values.values()].map(median);
}
