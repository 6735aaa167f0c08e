// What packets on a link look like to whoever listens there.
import { readFile } from "node:fs/promises";
import type { Host } from "./host.ts";
import { eventually } from "./wait.ts";

/** etcd tells of itself, in plain text that may well have a container's name. */
export const NOT_ETCD = "not tcp portrange 2379-2380";

/**
 * What tcpdump tells of a link of the host, the packets' text included, while `body` runs.
 * @param filter which packets, in tcpdump's words
 */
export async function watching(
  host: Host,
  link: string,
  filter: string,
  body: () => Promise<unknown>,
): Promise<string> {
  const words = ["tcpdump", "-i", link, "-nnAl", "--immediate-mode", filter];
  const tcpdump = await host.start(`tcpdump-${link}-${host.services.size}`, words);
  const said = (): Promise<string> => readFile(tcpdump.log, "utf8");
  await eventually("tcpdump listens", async () => (await said()).includes("listening on"));
  await body();
  await tcpdump.stop("SIGINT");
  return said();
}
