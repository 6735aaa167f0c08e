// Hosts that share a pool, with a store in memory.
import type { PoolId } from "@portolan/sdk";
import { SharedMemory, type Wire } from "@portolan/state";
import { IpamHost } from "./ipam-host.ts";

export const GROUP = { "portolan.network": "hansa" };
export const POOL = "tsLocal/10.7.0.0/24@hansa" as PoolId;

export class Hosts {
  readonly memory = new SharedMemory();
  readonly all: IpamHost[] = [];

  async add(name: string): Promise<IpamHost> {
    const host = await IpamHost.start({ name, wire: this.memory.connect("memory") });
    this.all.push(host);
    return host;
  }

  /** Hosts that have made the network, gateways included. */
  async joined(names: readonly string[], options: Record<string, string> = {}): Promise<IpamHost[]> {
    const hosts = [];
    for (const name of names) {
      const host = await this.add(name);
      await host.pool({ pool: "10.7.0.0/24", options: { ...GROUP, ...options } });
      await host.address(POOL, { gateway: true });
      hosts.push(host);
    }
    return hosts;
  }

  /** Until what hosts do in the background has been done. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 60; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  }

  async end(): Promise<void> {
    for (const host of this.all) await host.shared?.[Symbol.asyncDispose]();
  }
}

/** Each is ended after its test. To be called where `afterEach` may be. */
export function groups(): () => Hosts {
  const hosts: Hosts[] = [];
  afterEach(async () => {
    for (const made of hosts.splice(0)) await made.end();
  });
  return () => {
    const made = new Hosts();
    hosts.push(made);
    return made;
  };
}

export const wireOf = (host: IpamHost): Wire => host.wire as Wire;
export const bare = (address: string): string => address.replace(/\/.*/, "");
