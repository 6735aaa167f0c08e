// Several hosts, one pool, and something is away: the store, what was in it, its answer, a host for good.
import type { PoolId } from "@portolan/sdk";
import { bare, GROUP, groups, POOL, wireOf } from "../testing/group.ts";
import type { IpamHost } from "../testing/ipam-host.ts";
import { takeOver } from "./takeover.ts";

const newHosts = groups();

describe("a host that is cut off from the store", () => {
  it("goes on inside its blocks, and says that the store is away where it cannot", async () => {
    const made = newHosts();
    const [one, two] = (await made.joined(["one", "two"])) as [IpamHost, IpamHost];
    const given = [await one.address(POOL), await two.address(POOL)];
    wireOf(one).cut();
    for (let count = 0; count < 61; count += 1) given.push(await one.address(POOL), await two.address(POOL));
    expect(new Set(given).size).toBe(given.length);
    await expect(one.address(POOL)).rejects.toThrow("the shared store memory is away");
    await expect(one.address(POOL, "10.7.0.200")).rejects.toThrow("the shared store memory is away");
    await expect(one.pool({ options: { "portolan.network": "levant" } })).rejects.toThrow(
      "the shared store memory is away",
    );
    wireOf(one).mend();
    expect(given).not.toContain(await one.address(POOL));
  });

  it("starts without the store, and gives back later what it could not meanwhile", async () => {
    const made = newHosts();
    const [one, two] = (await made.joined(["one", "two"])) as [IpamHost, IpamHost];
    await one.address(POOL);
    await two.address(POOL, "10.7.0.9");
    wireOf(two).cut();
    await two.releaseAddress(POOL, "10.7.0.9");
    await two.restart();
    expect(await two.address(POOL, { gateway: true }).catch(String)).toContain("Address already in use");
    await two.releasePool(POOL);
    await two.restart();
    await expect(one.address(POOL, "10.7.0.9")).rejects.toThrow("held by the host two, which borrowed it");
    wireOf(two).mend();
    await two.shared?.settle();
    await made.settle();
    expect(await one.address(POOL, "10.7.0.9")).toBe("10.7.0.9/24");
    expect(made.memory.keys.some((key) => key.includes("two"))).toBe(true); // alive, and nothing else
    expect(JSON.stringify(made.memory.keys.map((key) => made.memory.entry(key)))).not.toMatch(/"host":"two"/);
  });

  it("repeats to dockerd what it holds, without the store", async () => {
    const [one] = (await newHosts().joined(["one"])) as [IpamHost];
    const address = await one.address(POOL);
    wireOf(one).cut();
    await one.restart();
    one.register();
    expect(await one.pool({ pool: "10.7.0.0/24", options: GROUP })).toBe(POOL);
    expect(await one.address(POOL, { gateway: true, address: "10.7.0.1" })).toBe("10.7.0.1/24");
    expect(await one.address(POOL, bare(address))).toBe(address);
  });
});

describe("a store that has lost everything", () => {
  it("learns from the hosts again what is theirs", async () => {
    const made = newHosts();
    const loseAll = made.memory.snapshot();
    const [one, two] = (await made.joined(["one", "two"])) as [IpamHost, IpamHost];
    const given = [await one.address(POOL), await two.address(POOL), await two.address(POOL, "10.7.0.9")];
    loseAll();
    for (const host of [one, two]) {
      wireOf(host).mend();
      await made.settle();
    }
    for (let count = 0; count < 120; count += 1) given.push(await one.address(POOL), await two.address(POOL));
    expect(new Set(given).size).toBe(given.length);
    const { value } = (await wireOf(one).get("tsLocal/hansa/v4/pool"))!;
    expect(value).toMatchObject({ subnet: "10.7.0.0/24", members: { one: "one", two: "two" } });
  });

  it("and has another group of that name by now gets nothing from a host that was away", async () => {
    const made = newHosts();
    const loseAll = made.memory.snapshot();
    const [one] = (await made.joined(["one"])) as [IpamHost];
    await one.address(POOL);
    wireOf(one).cut();
    loseAll();
    const two = await made.add("two");
    await two.pool({ pool: "10.9.0.0/24", options: GROUP });
    wireOf(one).mend();
    await made.settle();
    await expect(one.address(POOL, "10.7.0.200")).rejects.toThrow(
      /the group "hansa" was made anew meanwhile: its subnet is 10\.9\.0\.0\/24.*Remove the network on this host/,
    );
    expect(one.shared?.status().pools[0]?.trouble).toContain("made anew");
    expect(await one.address(POOL)).toBe("10.7.0.3/24");
    await one.releasePool(POOL);
    await made.settle();
    expect(await two.address("tsLocal/10.9.0.0/24@hansa" as PoolId)).toBe("10.9.0.2/24");
  });
});

describe("a record that somebody else overwrote", () => {
  it("does not make a block free", async () => {
    const made = newHosts();
    const [one, two] = (await made.joined(["one", "two"])) as [IpamHost, IpamHost];
    const given = [await one.address(POOL), await two.address(POOL)];
    await made.settle();
    made.memory.write({ key: "tsLocal/hansa/v4/block/00000000000000000000000000000001", value: null });
    await made.settle();
    for (let count = 0; count < 62; count += 1) given.push(await one.address(POOL), await two.address(POOL));
    expect(new Set(given).size).toBe(given.length);
    // The block that follows the other host's.
    expect(given.slice(-2)).toEqual(["10.7.0.128/24", "10.7.0.126/24"]);
  });
});

describe("an answer of the store that is lost", () => {
  it("costs neither a block nor an address", async () => {
    const made = newHosts();
    const [one, two] = (await made.joined(["one", "two"])) as [IpamHost, IpamHost];
    wireOf(one).loseNextAnswer = true;
    await expect(one.address(POOL)).rejects.toThrow("is away");
    expect(await one.address(POOL)).toBe("10.7.0.2/24");
    wireOf(two).loseNextAnswer = true;
    await expect(two.address(POOL, "10.7.0.9")).rejects.toThrow("is away");
    await two.restart();
    await made.settle();
    expect(await one.address(POOL, "10.7.0.9")).toBe("10.7.0.9/24");
  });

  it("does not make a lender lose what it lent", async () => {
    const made = newHosts();
    const [one, two] = (await made.joined(["one", "two"])) as [IpamHost, IpamHost];
    await one.address(POOL);
    wireOf(one).loseNextAnswer = true; // of the grant
    expect(await two.address(POOL, "10.7.0.9")).toBe("10.7.0.9/24");
    await one.restart();
    await made.settle();
    await expect(one.address(POOL, "10.7.0.9")).rejects.toThrow("Address already in use");
  });
});

describe("ts-ipam takeover", () => {
  it("is refused while the host is alive, and for a host that nobody knows", async () => {
    const [one] = (await newHosts().joined(["one", "two"])) as [IpamHost];
    await expect(takeOver(one.shared!, "two")).rejects.toThrow("the host two is alive");
    await expect(takeOver(one.shared!, "nobody")).rejects.toThrow("no group has a host called nobody");
    await expect(takeOver(one.shared!, "one")).rejects.toThrow("one is this host");
  });

  it("gives this host the blocks, and leaves with others what they had borrowed", async () => {
    const made = newHosts();
    const [one, two, three] = (await made.joined(["one", "two", "three"])) as [IpamHost, IpamHost, IpamHost];
    await one.address(POOL);
    await two.address(POOL);
    await three.address(POOL, "10.7.0.70"); // out of a block of two's
    await two.address(POOL, "10.7.0.9"); // out of a block of one's
    wireOf(two).cut();
    expect(await takeOver(one.shared!, "two")).toEqual([
      { group: "hansa", space: "tsLocal", subnet: "10.7.0.0/24", blocks: ["10.7.0.64/26"], left: 0, returned: 1 },
    ]);
    await made.settle();
    expect(await one.address(POOL, "10.7.0.9")).toBe("10.7.0.9/24");
    expect(await one.address(POOL, "10.7.0.64")).toBe("10.7.0.64/24");
    await expect(one.address(POOL, "10.7.0.70")).rejects.toThrow("held by the host three, which borrowed it");
    await one.restart();
    await expect(one.address(POOL, "10.7.0.70")).rejects.toThrow("held by the host three, which borrowed it");
  });

  it("ends the giving of a host that comes back after all", async () => {
    const made = newHosts();
    const [one, two] = (await made.joined(["one", "two"])) as [IpamHost, IpamHost];
    await one.address(POOL);
    await two.address(POOL);
    wireOf(two).cut();
    await takeOver(one.shared!, "two");
    wireOf(two).mend();
    await made.settle();
    const given = [];
    for (let count = 0; count < 70; count += 1) given.push(await two.address(POOL), await one.address(POOL));
    expect(new Set(given).size).toBe(given.length);
    expect(given.filter((_, index) => index % 2 === 0)).not.toContain("10.7.0.65/24");
  });
});
