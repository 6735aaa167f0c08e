// A host for each driver, and many published ports of one container on it.
import { drivers, type BenchHost, type Driver } from "./bench-host.ts";
import type { Stage } from "./stage.ts";

export const MANY = 2_000;

/** IPv4 alone: for both families the built-in driver would start 4,000 docker-proxies, too many for a small machine. */
const crowd = { first: 10_000, count: MANY, hostIp: "0.0.0.0" } as const;

/** Hosts with a network `net` of the driver. */
export async function hostForEachDriver(stage: Stage): Promise<Readonly<Record<Driver, BenchHost>>> {
  const open = async (name: string, driver: Driver): Promise<BenchHost> => {
    const host = await stage.host(name);
    await host.createNetwork("net", driver);
    return host;
  };
  const [ours, builtIn] = drivers;
  return { [ours]: await open("ours", ours), [builtIn]: await open("builtin", builtIn) };
}

/** Starts a container `crowd`, each of whose ports is published as the host's port of the same number. */
export async function publishMany(driver: Driver, host: BenchHost): Promise<void> {
  await host.create("crowd", "net", crowd);
  const seconds = (await host.start("crowd")) / 1000;
  process.stdout.write(`${driver} published ${MANY} ports in ${seconds.toFixed(1)} s\n`);
}

/** The last port that the built-in driver's rules compare a packet with. */
export async function lastPort({ host }: BenchHost): Promise<number> {
  const rules = await host.must(["iptables", "-t", "nat", "-S", "DOCKER"]);
  const port = [...rules.matchAll(/--dport (\d+) .*-j DNAT/g)].at(-1)?.[1];
  if (port === undefined) throw new Error("the built-in driver has no rule for a published port");
  return Number(port);
}
