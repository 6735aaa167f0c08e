// Networks whose addresses ts-ipam gives: how suites make them, and what ts-ipam says of them.
import type { Host } from "./host.ts";
import { driver, onEveryEngine, type Rows } from "./suite.ts";

/** Docker's own network drivers take addresses from ts-ipam as ours do. */
export const networkDrivers: readonly string[] = [...new Set(["bridge", "macvlan", driver])];

export interface PoolFacts {
  readonly id: string;
  readonly subnet: string;
  readonly gateways: readonly string[];
  readonly held: number;
  readonly missed: number;
}

export interface AddressFacts {
  readonly address: string;
  readonly kind: string;
  readonly mac?: string;
}

/** Rows on hosts where ts-ipam runs; each must leave ts-ipam without a pool. */
export function onEveryEngineWithIpam(topic: string, define: (rows: Pick<Rows, "row" | "engine">) => void): void {
  onEveryEngine(
    topic,
    ({ row, engine }) => {
      define({
        engine,
        row: (sentence, body, seconds) =>
          row(
            sentence,
            async (host) => {
              await body(host);
              const containers = await host.docker("ps", "--all", "--quiet");
              if (containers) await host.docker("rm", "--force", ...containers.split("\n"));
              await host.docker("network", "prune", "--force");
              expect(await pools(host)).toEqual([]);
            },
            seconds,
          ),
      });
    },
    { prepare: startIpam },
  );
}

async function startIpam(host: Host): Promise<void> {
  await host.startPlugin("ts-ipam");
  await turnForwardingOn(host);
}

export async function turnForwardingOn(host: Host): Promise<void> {
  // With the first IPv6 network forwarding is turned on, and Docker 28 turns the policy to DROP: for good.
  for (const driver of networkDrivers) {
    if (driver === "macvlan") continue;
    await createNetwork(host, `once-${driver}`, driver, "--ipv6");
    await host.docker("network", "rm", `once-${driver}`);
  }
}

/** `docker network create` with ts-ipam; macvlan gets a parent, and bridges are asked for no ports. */
export async function createNetwork(
  host: Host,
  name: string,
  networkDriver: string,
  ...flags: string[]
): Promise<void> {
  await host.docker(...createWords(name, networkDriver, ...flags));
}

export function createWords(name: string, networkDriver: string, ...flags: string[]): string[] {
  const parent = networkDriver === "macvlan" ? ["-o", "parent=eth0"] : [];
  return ["network", "create", "-d", networkDriver, "--ipam-driver", "ts-ipam", ...parent, ...flags, name];
}

/** What `ts-ipam ls` tells. */
export async function pools(host: Host): Promise<readonly PoolFacts[]> {
  const { pools } = JSON.parse(await ipam(host, "ls", "--json")) as { pools: PoolFacts[] };
  return pools;
}

/** What `ts-ipam inspect` tells of a pool's addresses. */
export async function addressesOf(host: Host, pool: string): Promise<readonly AddressFacts[]> {
  return (JSON.parse(await ipam(host, "inspect", pool, "--json")) as { addresses: AddressFacts[] }).addresses;
}

/** Runs `ts-ipam` on the host as an operator would. */
export function ipam(host: Host, ...words: string[]): Promise<string> {
  return host.must(["node", "/opt/portolan/packages/ipam-plugin/dist/main.js", ...words]);
}

/** The subnets and gateways that Docker shows for a network. */
export async function ipamConfigOf(host: Host, network: string): Promise<{ Subnet: string; Gateway?: string }[]> {
  const shown = await host.docker("network", "inspect", "-f", "{{json .IPAM.Config}}", network);
  return JSON.parse(shown) as { Subnet: string; Gateway?: string }[];
}
