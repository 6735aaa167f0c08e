// One etcd, for suites that are about something else.
import { copyFile } from "node:fs/promises";
import type { Host } from "./host.ts";
import { eventually } from "./wait.ts";

/** Debian's package etcd-server has it. */
export const ETCD = "/usr/bin/etcd";
const INSIDE = "/usr/local/bin/etcd";

/** Starts it on the host. @returns the URL that plugins are given as their store */
export async function startEtcd(host: Host): Promise<string> {
  await copyFile(ETCD, host.path(INSIDE));
  const address = `${host.address.ipv4}:2379`;
  const urls = ["--listen-client-urls", `http://${address}`, "--advertise-client-urls", `http://${address}`];
  await host.start("etcd", [INSIDE, "--data-dir", "/var/lib/etcd", "--logger", "zap", ...urls]);
  await eventually(
    "etcd answers",
    async () => (await host.exec(["curl", "-sf", "-m", "2", `http://${address}/health`])).code === 0,
    { within: 30, every: 200 },
  );
  return `etcd://${address}`;
}
