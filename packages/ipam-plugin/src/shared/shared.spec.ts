// Several hosts, one pool: blocks, named addresses, borrowed ones.
import { bare, GROUP, groups, POOL, wireOf } from "../testing/group.ts";
import { IpamHost } from "../testing/ipam-host.ts";

const newHosts = groups();

describe("a group of hosts", () => {
  it("has one subnet and one gateway, and gives each address once", async () => {
    const [one, two] = (await newHosts().joined(["one", "two"])) as [IpamHost, IpamHost];
    const given = [];
    for (let count = 0; count < 20; count += 1) given.push(await one.address(POOL), await two.address(POOL));
    expect(new Set(given).size).toBe(40);
    expect(given.slice(0, 2)).toEqual(["10.7.0.2/24", "10.7.0.64/24"]);
  });

  it("gets its subnet from the first host when nobody names one", async () => {
    const made = newHosts();
    const [one, two] = [await made.add("one"), await made.add("two")];
    const pool = await one.pool({ options: GROUP });
    expect(pool).toBe("tsLocal/10.64.0.0/24@hansa");
    two.taken = ["10.64.0.0/16"];
    expect(await two.pool({ options: GROUP })).toBe(pool);
  });

  it("is refused where no store is", async () => {
    const host = await IpamHost.start();
    await expect(host.pool({ pool: "10.7.0.0/24", options: GROUP })).rejects.toThrow(/PORTOLAN_STORE=etcd/);
  });

  it.each([
    [{ pool: "10.8.0.0/24" }, {}, 'the group "hansa" has the subnet 10.7.0.0/24, not 10.8.0.0/24'],
    [{ pool: "10.7.0.0/24", range: "10.7.0.0/25" }, {}, 'the group "hansa" has the --ip-range (none), not 10.7.0.0/25'],
    [{ pool: "10.7.0.0/24" }, { "portolan.block": "28" }, 'the group "hansa" has blocks of /26, not /28'],
  ])("refuses a host that wants something else: %j %j", async (wish, options, why) => {
    const made = newHosts();
    await made.joined(["one"]);
    const two = await made.add("two");
    await expect(two.pool({ ...wish, options: { ...GROUP, ...options } })).rejects.toThrow(why);
  });

  it("takes the gateway that its first host names, and no other afterwards", async () => {
    const made = newHosts();
    const [one, two] = [await made.add("one"), await made.add("two")];
    await one.pool({ pool: "10.7.0.0/24", options: GROUP });
    expect(await one.address(POOL, { gateway: true, address: "10.7.0.254" })).toBe("10.7.0.254/24");
    await two.pool({ options: GROUP });
    await expect(two.address(POOL, { gateway: true, address: "10.7.0.1" })).rejects.toThrow(
      'the group "hansa" has the gateway 10.7.0.254 on all its hosts',
    );
    expect(await two.address(POOL, { gateway: true })).toBe("10.7.0.254/24");
    expect(await one.address(POOL)).toBe("10.7.0.1/24");
    await expect(two.address(POOL, "10.7.0.254")).rejects.toThrow("Address already in use");
    await one.restart();
    await expect(one.address(POOL, "10.7.0.254")).rejects.toThrow("held by the gateway");
  });

  it("leaves nothing in the store once its last host has left", async () => {
    const made = newHosts();
    const [one, two] = (await made.joined(["one", "two"])) as [IpamHost, IpamHost];
    await one.address(POOL);
    await two.address(POOL, "10.7.0.9");
    await two.releasePool(POOL);
    await made.settle();
    expect(made.memory.keys.filter((key) => key.includes("/single/") || key.includes("/ask/"))).toEqual([]);
    await one.releasePool(POOL);
    await made.settle();
    expect(made.memory.keys.filter((key) => !key.startsWith("hosts/"))).toEqual([]);
  });

  it("stays a group when its first host has named the gateway", async () => {
    const made = newHosts();
    const one = await made.add("one");
    await one.pool({ pool: "10.7.0.0/24", options: GROUP });
    await one.address(POOL, { gateway: true, address: "10.7.0.254" });
    const address = await one.address(POOL);
    await one.shared?.settle();
    await one.restart();
    await one.shared?.settle();
    const two = await made.add("two");
    await two.pool({ pool: "10.7.0.0/24", options: GROUP });
    expect(await two.address(POOL, { gateway: true })).toBe("10.7.0.254/24");
    await expect(two.address(POOL, bare(address))).rejects.toThrow("on the host one");
  });

  it("has the same reservations on every host", async () => {
    const made = newHosts();
    const reserve = { "portolan.reserve": "10.7.0.1-10.7.0.20,10.7.0.64" };
    const [one] = (await made.joined(["one"], reserve)) as [IpamHost];
    const two = await made.add("two");
    await two.pool({ pool: "10.7.0.0/24", options: GROUP });
    expect([await one.address(POOL), await two.address(POOL)]).toEqual(["10.7.0.21/24", "10.7.0.65/24"]);
    await two.restart();
    expect(await two.address(POOL)).toBe("10.7.0.66/24");
    const three = await made.add("three");
    const other = { ...GROUP, "portolan.reserve": "10.7.0.9" };
    await expect(three.pool({ pool: "10.7.0.0/24", options: other })).rejects.toThrow(
      'the group "hansa" has the reservations 10.7.0.1-10.7.0.20,10.7.0.64, not 10.7.0.9',
    );
  });

  it("is left again by a host that died while it joined", async () => {
    const made = newHosts();
    const one = await made.add("one");
    let commits = 0;
    one.onCommit = (moment) => {
      if (moment === "before" && (commits += 1) === 2) throw new Error("killed");
    };
    await expect(one.pool({ pool: "10.7.0.0/24", options: GROUP })).rejects.toThrow("killed");
    one.onCommit = undefined;
    await one.restart();
    await one.shared?.settle();
    await made.settle();
    expect(made.memory.keys).toEqual(["hosts/one"]);
  });

  it("gives a host its pool again when it died before it answered", async () => {
    const made = newHosts();
    const one = await made.add("one");
    const wish = { pool: "10.7.0.0/24", options: GROUP };
    await one.pool(wish);
    await one.restart();
    expect(await one.pool(wish)).toBe(POOL);
    await expect(one.pool(wish)).rejects.toThrow("Pool overlaps with other one");
  });

  it("does not take another machine for one of its hosts, whatever it is called", async () => {
    const made = newHosts();
    const [one] = (await made.joined(["one"])) as [IpamHost];
    await one.address(POOL);
    wireOf(one).cut(); // and its lease has run out
    const double = await IpamHost.start({ name: "one", wire: made.memory.connect("memory"), machine: "another one" });
    made.all.push(double);
    await expect(double.pool({ pool: "10.7.0.0/24", options: GROUP })).rejects.toThrow(
      'the group "hansa" has another machine called one',
    );
    await double.shared?.settle();
    await made.settle();
    expect(made.memory.keys).toContain("tsLocal/hansa/v4/block/00000000000000000000000000000000");
  });

  it("refuses two hosts of one name", async () => {
    const made = newHosts();
    await made.add("one");
    const wire = made.memory.connect("memory");
    made.memory.write({ key: "hosts/one", value: { id: "another machine" } });
    await expect(IpamHost.start({ name: "one", wire })).rejects.toThrow(
      "another host that reaches memory is called one, too",
    );
  });
});

describe("a named address", () => {
  it("is given anywhere in the pool, once among all hosts", async () => {
    const [one, two] = (await newHosts().joined(["one", "two"])) as [IpamHost, IpamHost];
    await one.address(POOL);
    expect(await two.address(POOL, "10.7.0.9")).toBe("10.7.0.9/24");
    await expect(one.address(POOL, "10.7.0.9")).rejects.toThrow(/held by the host two, which borrowed it/);
    expect(await two.address(POOL, "10.7.0.200")).toBe("10.7.0.200/24");
    await expect(one.address(POOL, "10.7.0.200")).rejects.toThrow(
      /Address already in use: 10\.7\.0\.200 is held by a static address on the host two since 2026-/,
    );
    await expect(two.address(POOL, "10.7.0.2")).rejects.toThrow(/is held by a container on the host one/);
  });

  it("goes back to its lender when the borrower could not write it down", async () => {
    const made = newHosts();
    const [one, two] = (await made.joined(["one", "two"])) as [IpamHost, IpamHost];
    await one.address(POOL);
    for (const moment of ["before", "after"] as const) {
      two.onCommit = (now) => {
        if (now === moment) throw new Error("no space left on device");
      };
      await expect(two.address(POOL, "10.7.0.9")).rejects.toThrow("no space left on device");
      two.onCommit = undefined;
      if (moment === "after") await two.restart();
      else await two.releaseAddress(POOL, "10.7.0.9");
      await two.shared?.settle();
      await made.settle();
      expect(await one.address(POOL, "10.7.0.9")).toBe("10.7.0.9/24");
      await one.releaseAddress(POOL, "10.7.0.9");
    }
  });

  it("that was lent is not freed by starts of the lender's dockerd, which does not know of it", async () => {
    const made = newHosts();
    const [one, two] = (await made.joined(["one", "two"])) as [IpamHost, IpamHost];
    const own = await one.address(POOL);
    await two.address(POOL, "10.7.0.9");
    for (let start = 0; start < 3; start += 1) {
      one.clock += 1000;
      one.register();
      await one.pool({ pool: "10.7.0.0/24", options: GROUP });
      await one.address(POOL, { gateway: true, address: "10.7.0.1" });
      await one.address(POOL, bare(own));
      await expect(one.address(POOL, "10.7.0.9")).rejects.toThrow("held by the host two, which borrowed it");
      await one.releaseAddress(POOL, "10.7.0.99");
      await one.settle();
    }
    await one.releaseAddress(POOL, "10.7.0.9");
    await expect(one.address(POOL, "10.7.0.9")).rejects.toThrow("held by the host two, which borrowed it");
  });

  it("goes back to the host whose block it is from when it is released", async () => {
    const made = newHosts();
    const [one, two] = (await made.joined(["one", "two"])) as [IpamHost, IpamHost];
    await one.address(POOL);
    await two.address(POOL, "10.7.0.9");
    await two.restart();
    await two.releaseAddress(POOL, "10.7.0.9");
    await made.settle();
    expect(await one.address(POOL, "10.7.0.9")).toBe("10.7.0.9/24");
  });

  it("that was lent stays so when its lender has left and another host gets the block", async () => {
    const made = newHosts();
    const [one, two, three] = (await made.joined(["one", "two", "three"])) as [IpamHost, IpamHost, IpamHost];
    await one.address(POOL);
    await two.address(POOL, "10.7.0.9");
    await one.releaseAddress(POOL, "10.7.0.2");
    await one.releasePool(POOL);
    await made.settle();
    await expect(three.address(POOL, "10.7.0.9")).rejects.toThrow("held by the host two, which borrowed it");
    const given = await Promise.all(Array.from({ length: 60 }, () => three.address(POOL)));
    expect(given).not.toContain("10.7.0.9/24");
    await two.releaseAddress(POOL, "10.7.0.9");
    await made.settle();
    expect(await three.address(POOL, "10.7.0.9")).toBe("10.7.0.9/24");
  });
});

describe("a full pool", () => {
  it("borrows single addresses from other hosts before it fails, and then says why", async () => {
    const made = newHosts();
    const [one, two] = (await made.joined(["one", "two"])) as [IpamHost, IpamHost];
    const given: string[] = [];
    await two.address(POOL, "10.7.0.70");
    for (let count = 0; count < 252; count += 1) given.push(await one.address(POOL));
    expect(new Set(given).size).toBe(252);
    expect(given).not.toContain("10.7.0.70/24");
    await expect(one.address(POOL)).rejects.toThrow(
      /no available addresses on this pool: all blocks of 10\.7\.0\.0\/24 are claimed and 3 of them, this host's, are full; the host two has none to lend/,
    );
    await expect(two.address(POOL)).rejects.toThrow("no available addresses on this pool");
    const [borrowed] = given.filter((address) => /^10\.7\.0\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\//.test(address));
    await one.releaseAddress(POOL, bare(borrowed!));
    await made.settle();
    expect(await two.address(POOL)).toBe(borrowed);
  });

  it("does not wait for a host that is away", async () => {
    const made = newHosts();
    const [one, two] = (await made.joined(["one", "two"])) as [IpamHost, IpamHost];
    await two.address(POOL);
    wireOf(two).cut();
    for (let count = 0; count < 191; count += 1) await one.address(POOL);
    await expect(one.address(POOL)).rejects.toThrow(/the host two, which has these addresses, does not answer/);
    await expect(one.address(POOL, "10.7.0.5")).rejects.toThrow(
      /the host two, which has these addresses, does not answer.*ts-ipam takeover two/,
    );
  });
});
