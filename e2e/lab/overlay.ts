// Networks of ts-overlay, as users make them and look at them.
import type { Host } from "./host.ts";
import type { Result } from "./command.ts";

/**
 * The network of this name, with subnets and gateways that follow from it. Each host gives addresses out of a range of its
 * own, so that Docker's IPAM needs to know nothing of the others.
 */
export function createWords(host: Host, name: string, ...flags: string[]): string[] {
  const number = host.name.slice(1);
  const net = numberOf(name);
  const subnets = ["--ipv6", "--subnet", `10.${net}.0.0/16`, "--subnet", `fd00:${net}::/64`];
  const gateways = gatewaysOf(name).flatMap((gateway) => ["--gateway", gateway]);
  const ranges = ["--ip-range", `10.${net}.${number}.0/24`, "--ip-range", `fd00:${net}::${number}:0/112`];
  return [
    "network",
    "create",
    "-d",
    "ts-overlay",
    "-o",
    `portolan.network=${name}`,
    ...subnets,
    ...gateways,
    ...ranges,
    ...flags,
    name,
  ];
}

const numberOf = (network: string) => 20 + (Buffer.from(network).reduce((sum, byte) => sum + byte, 0) % 200);

/** The addresses that each host has in a network of `createWords`. */
export function gatewaysOf(network: string): readonly [ipv4: string, ipv6: string] {
  return [`10.${numberOf(network)}.0.1`, `fd00:${numberOf(network)}::1`];
}

export async function createNetwork(host: Host, name: string, ...flags: string[]): Promise<void> {
  await host.docker(...createWords(host, name, ...flags));
}

interface KeyFacts {
  readonly key: string;
  /** Inside the tunnels. */
  readonly address: string;
  readonly since?: string;
  readonly handshake?: string;
}

export interface OverlayFacts {
  readonly networks: readonly {
    readonly name: string;
    readonly vni: number;
    readonly mtu: number;
    readonly hosts: readonly string[];
    readonly endpoints: { readonly here: number; readonly elsewhere: number };
    readonly bridge: string;
    readonly link: string;
    readonly encrypted: boolean;
    readonly fastPath: string;
    readonly gateway?: string;
    readonly services: readonly {
      readonly name: string;
      readonly addresses: readonly string[];
      readonly endpoints: readonly string[];
    }[];
    readonly published?: { readonly ports: Readonly<Record<string, string>> };
    readonly trouble?: string;
  }[];
  readonly peers: readonly {
    readonly host: string;
    readonly vtep: string;
    readonly alive: boolean;
    readonly keys: readonly KeyFacts[];
  }[];
  readonly pendingDeletes: readonly { readonly id: string; readonly trouble?: string }[];
  readonly staleEntries: number;
  readonly trouble?: string;
}

/** What ts-overlay tells of itself. */
export async function overlayStatus(host: Host): Promise<OverlayFacts> {
  const answer = await host.get("/run/portolan/ts-overlay.sock", "/status");
  if (answer?.status !== 200) throw new Error(`ts-overlay on ${host.name} tells nothing of itself`);
  return JSON.parse(answer.body) as OverlayFacts;
}

/** Runs `ts-overlay` on the host as an operator would. */
export function overlay(host: Host, ...words: string[]): Promise<Result> {
  return host.exec(["node", "/opt/portolan/packages/overlay-plugin/dist/main.js", ...words]);
}
