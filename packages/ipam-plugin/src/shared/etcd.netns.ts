// Hosts that share a pool through real etcd servers: three members, one killed, the leader changed, a host cut off.
import { execFileSync } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import type { PoolId } from "@portolan/sdk";
import { EtcdMembers, Relays } from "@portolan/state/testing";
import { IpamHost } from "../testing/ipam-host.ts";
import { openSharedStore } from "./open.ts";
import { takeOver } from "./takeover.ts";

const POOL = "tsLocal/10.7.0.0/22@hansa" as PoolId;
const WISH = { pool: "10.7.0.0/22", options: { "portolan.network": "hansa", "portolan.block": "28" } };

beforeAll(() => {
  execFileSync("ip", ["link", "set", "lo", "up"]);
});

async function eventually(look: () => Promise<boolean> | boolean, seconds = 20): Promise<void> {
  const end = Date.now() + seconds * 1000;
  while (!(await look())) {
    if (Date.now() > end) throw new Error("it did not become true");
    await sleep(50);
  }
}

describe("three members", () => {
  let members: EtcdMembers;
  const hosts: { host: IpamHost; relays: Relays }[] = [];
  const given = new Map<string, string>();

  beforeAll(async () => {
    members = await EtcdMembers.start(3);
    await members.leader();
    for (const name of ["one", "two", "three"]) {
      const relays = await Relays.to(members.ports);
      const host = await IpamHost.start({ name, wire: await openSharedStore({ store: relays.url }), patience: 3_000 });
      await host.pool(WISH);
      hosts.push({ host, relays });
    }
  }, 60_000);
  afterAll(async () => {
    for (const { host, relays } of hosts) {
      await host.shared?.[Symbol.asyncDispose]();
      await host.wire?.[Symbol.asyncDispose]();
      await relays[Symbol.asyncDispose]();
    }
    await members[Symbol.asyncDispose]();
  });

  /** Takes addresses on all hosts at once; each must be new. @returns refusals */
  async function take(each: number): Promise<string[]> {
    const refusals: string[] = [];
    const one = async (host: IpamHost) => {
      for (let count = 0; count < each; count += 1) {
        try {
          const address = await host.address(POOL);
          expect(given.get(address)).toBeUndefined();
          given.set(address, host.name);
        } catch (error) {
          refusals.push(String(error));
        }
      }
    };
    await Promise.all(hosts.map(({ host }) => one(host)));
    return refusals;
  }

  it("let three hosts take addresses at once, each once", async () => {
    expect(await take(40)).toEqual([]);
    expect(given.size).toBe(120);
  });

  it("go on when one of them that does not lead is killed", async () => {
    const leader = await members.leader();
    const victim = (leader + 1) % 3;
    const taking = take(40);
    await members.kill(victim);
    expect((await taking).filter((refusal) => !refusal.includes("is away"))).toEqual([]);
    await eventually(async () => (await take(17)).length === 0);
    await members.run(victim);
  });

  it("go on when the one that leads is killed, and another one leads", async () => {
    const leader = await members.leader();
    const taking = take(30);
    await members.kill(leader);
    expect((await taking).filter((refusal) => !refusal.includes("is away"))).toEqual([]);
    expect(await members.leader()).not.toBe(leader);
    await eventually(async () => (await take(1)).length === 0);
    await members.run(leader);
  });

  it("cut off from one host do not stop it inside its blocks, and it finds them again", async () => {
    const { host, relays } = hosts[0]!;
    relays.cut();
    const inside: string[] = [];
    const started = Date.now();
    const refusal = await (async () => {
      for (;;) {
        try {
          inside.push(await host.address(POOL));
        } catch (error) {
          return String(error);
        }
      }
    })();
    expect(refusal).toContain("the shared store etcd://");
    expect(refusal).toContain("is away");
    expect(Date.now() - started).toBeLessThan(15_000);
    for (const address of inside) {
      expect(given.get(address)).toBeUndefined();
      given.set(address, "one");
    }
    const others = hosts.splice(0, 1);
    expect(await take(20)).toEqual([]);
    hosts.unshift(...others);
    relays.mend();
    await eventually(async () => (await take(1)).length === 0);
  });

  it("let a host borrow from another and give back", async () => {
    const [one, two] = [hosts[0]!.host, hosts[1]!.host];
    const mine = [...given].filter(([, host]) => host === "one").map(([address]) => address.replace(/\/.*/, ""));
    await one.releaseAddress(POOL, mine[0]!);
    given.delete(`${mine[0]!}/22`);
    expect(await two.address(POOL, mine[0])).toBe(`${mine[0]!}/22`);
    await expect(one.address(POOL, mine[0])).rejects.toThrow("held by the host two, which borrowed it");
    await expect(two.address(POOL, mine[1])).rejects.toThrow(/is held by a container on the host one/);
    await two.releaseAddress(POOL, mine[0]!);
    await eventually(() =>
      one.address(POOL, mine[0]).then(
        () => true,
        () => false,
      ),
    );
  });

  it("give a host's blocks to another when it is gone and an operator says so", async () => {
    const [one, three] = [hosts[0]!.host, hosts[2]!.host];
    await expect(takeOver(one.shared!, "three")).rejects.toThrow("the host three is alive");
    hosts[2]!.relays.cut();
    await three.shared?.[Symbol.asyncDispose]();
    // Its lease runs out.
    await eventually(
      () =>
        takeOver(one.shared!, "three").then(
          ({ length }) => length === 1,
          () => false,
        ),
      25,
    );
    const free = [...given].find(([, host]) => host === "three")![0].replace(/\/.*/, "");
    expect(await one.address(POOL, free)).toBe(`${free}/22`);
  });
});
