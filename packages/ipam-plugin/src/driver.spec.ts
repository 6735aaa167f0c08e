// What dockerd and its users see of ts-ipam: which pools and addresses they get, and in what words they are refused.
import { IpamHost } from "./testing/ipam-host.ts";

/** Requests addresses until the pool is exhausted. */
async function exhaust(host: IpamHost, pool: Awaited<ReturnType<IpamHost["pool"]>>, most = 5000): Promise<string[]> {
  const given: string[] = [];
  for (let count = 0; count < most; count += 1) {
    try {
      given.push(await host.address(pool));
    } catch (error) {
      expect(String(error)).toContain("no available addresses on this pool");
      return given;
    }
  }
  throw new Error(`the pool still had addresses after ${most}`);
}

describe("a pool asked for by its subnet", () => {
  it("has an id made of its address space, its subnet and its range", async () => {
    const host = await IpamHost.start();
    expect(await host.pool("10.1.0.0/24")).toBe("tsLocal/10.1.0.0/24");
    expect(await host.pool({ pool: "10.2.0.0/24", range: "10.2.0.128/25" })).toBe("tsLocal/10.2.0.0/24/10.2.0.128/25");
    expect(await host.pool("fd00:1::/64")).toBe("tsLocal/fd00:1::/64");
  });

  it.each(["10.1.0.0/16", "10.1.2.0/24", "10.0.0.0/8", "10.1.255.255/32"])(
    "is refused when it is %s and 10.1.0.0/16 is held",
    async (pool) => {
      const host = await IpamHost.start();
      const held = await host.pool("10.1.0.0/16");
      await host.address(held, { gateway: true });
      await expect(host.pool(pool)).rejects.toThrow(
        /Pool overlaps with other one on this address space: 10\.1\.0\.0\/16, held since 2026-.* with gateway 10\.1\.0\.1, 1 addresses in use/,
      );
    },
  );

  it("is free again once it is released, with all its addresses", async () => {
    const host = await IpamHost.start();
    const pool = await host.pool("10.1.0.0/30");
    expect(await exhaust(host, pool)).toHaveLength(2);
    await host.releasePool(pool);
    expect(await host.pool("10.1.0.0/29")).toBe("tsLocal/10.1.0.0/29");
    await host.restart();
    expect(await exhaust(host, "tsLocal/10.1.0.0/29" as never)).toHaveLength(6);
  });

  it("keeps the two address spaces apart, as a swarm manager that runs tasks needs it", async () => {
    const host = await IpamHost.start();
    const pools = [await host.pool({ space: "tsGlobal", pool: "10.78.0.0/24" }), await host.pool("10.78.0.0/24")];
    expect(pools).toEqual(["tsGlobal/10.78.0.0/24", "tsLocal/10.78.0.0/24"]);
    for (const pool of pools) expect(await host.address(pool, "10.78.0.4")).toBe("10.78.0.4/24");
    await host.releasePool(pools[0]!);
    await expect(host.address(pools[1]!, "10.78.0.4")).rejects.toThrow("Address already in use");
  });

  it("may be shared by networks that have ranges of their own, and then no address is given twice", async () => {
    const host = await IpamHost.start();
    const ranges = ["192.168.0.0/25", "192.168.0.0/24", "192.168.0.128/25"];
    const pools = [];
    for (const range of ranges) pools.push(await host.pool({ pool: "192.168.0.0/24", range }));
    const given = await Promise.all([...pools, ...pools].map((pool) => host.address(pool)));
    expect(new Set(given).size).toBe(6);
    await expect(host.pool({ pool: "192.168.0.0/24", range: "192.168.0.0/25" })).rejects.toThrow("Pool overlaps");
    await expect(host.pool("192.168.0.0/24")).rejects.toThrow("Pool overlaps");
    await expect(host.pool({ pool: "192.168.0.0/16", range: "192.168.0.0/25" })).rejects.toThrow("Pool overlaps");
  });

  it("may not be shared by networks that reserve different addresses of it", async () => {
    const host = await IpamHost.start();
    const reserve = { "portolan.reserve": "10.1.0.9" };
    await host.pool({ pool: "10.1.0.0/24", range: "10.1.0.0/25", options: reserve });
    await expect(host.pool({ pool: "10.1.0.0/24", range: "10.1.0.128/25" })).rejects.toThrow(
      'option "portolan.reserve": (none) for 10.1.0.0/24, where another network of the same subnet has 10.1.0.9',
    );
    await host.pool({ pool: "10.1.0.0/24", range: "10.1.0.128/25", options: reserve });
  });

  it("gives up its own addresses only, when another network shares the subnet", async () => {
    const host = await IpamHost.start();
    const [low, high] = [
      await host.pool({ pool: "192.168.0.0/24", range: "192.168.0.0/25" }),
      await host.pool({ pool: "192.168.0.0/24", range: "192.168.0.128/25" }),
    ];
    const [mine, other] = [await host.address(low), await host.address(high)];
    await host.releaseAddress(low, other);
    await expect(host.address(low, other.slice(0, -3))).rejects.toThrow("Address already in use");
    await host.releasePool(low);
    await host.restart();
    await expect(host.address(high, other.slice(0, -3))).rejects.toThrow("Address already in use");
    expect(await host.address(high, mine.slice(0, -3))).toBe(mine);
  });

  it("can be asked for again when the plugin died before it answered, once and before it is used", async () => {
    const host = await IpamHost.start();
    host.onCommit = (moment) => {
      if (moment === "after") throw new Error("killed");
    };
    await expect(host.pool("10.1.0.0/24")).rejects.toThrow("killed");
    host.onCommit = undefined;
    await host.restart();
    const pool = await host.pool("10.1.0.0/24");
    await expect(host.pool("10.1.0.0/24")).rejects.toThrow("Pool overlaps");
    await host.address(pool, { gateway: true });
    await host.restart();
    await expect(host.pool("10.1.0.0/24")).rejects.toThrow("Pool overlaps");
    await host.releaseAddress(pool, "10.1.0.1");
    await host.releasePool(pool);
    expect(host.registry.pool(pool)).toBeUndefined();
  });

  it("takes back in memory what could not be written", async () => {
    const host = await IpamHost.start();
    const [pool, other] = [await host.pool("10.1.0.0/24"), await host.pool("10.2.0.0/24")];
    await host.address(pool);
    const full = () => {
      throw new Error("the disk is full");
    };
    host.onCommit = full;
    await expect(host.address(pool)).rejects.toThrow("the disk is full");
    await expect(host.address(pool, "10.1.0.9")).rejects.toThrow("the disk is full");
    await expect(host.releaseAddress(pool, "10.1.0.1")).rejects.toThrow("the disk is full");
    await expect(host.pool("10.3.0.0/24")).rejects.toThrow("the disk is full");
    await expect(host.releasePool(pool)).rejects.toThrow("the disk is full");
    await expect(host.releasePool(other)).rejects.toThrow("the disk is full");
    host.onCommit = undefined;
    await expect(host.pool("10.2.0.0/25")).rejects.toThrow("Pool overlaps");
    expect(await host.pool("10.3.0.0/16")).toBe("tsLocal/10.3.0.0/16");
    await expect(host.address(pool, "10.1.0.1")).rejects.toThrow("Address already in use");
    expect(await host.address(pool, "10.1.0.9")).toBe("10.1.0.9/24");
    expect(await host.address(pool)).toBe("10.1.0.2/24");
    await host.restart();
    await expect(host.address(pool, "10.1.0.9")).rejects.toThrow("Address already in use");
    expect(await host.address(pool)).toBe("10.1.0.3/24");
  });

  it("accepts options that are not ours, and refuses those that only look so", async () => {
    const host = await IpamHost.start();
    await host.pool({ pool: "10.1.0.0/24", options: { opt1: "drv1", opt2: "drv2" } });
    await expect(host.pool({ pool: "10.2.0.0/24", options: { "portolan.quarentine": "5s" } })).rejects.toThrow(
      /option "portolan.quarentine" is unknown.*portolan.quarantine/,
    );
    await expect(host.pool({ pool: "10.2.0.0/24", options: { "portolan.quarantine": "soon" } })).rejects.toThrow(
      /option "portolan.quarantine": "soon" is not allowed.*60s/,
    );
  });

  it.each([
    [{ pool: "192.168.0.0/16", range: "192.170.0.0/16" }, "--ip-range 192.170.0.0/16 is not within 192.168.0.0/16"],
    [{ pool: "10.0.0.0/24", ipv6: true }, "10.0.0.0/24 is no IPv6 subnet"],
    [{ pool: "0.0.0.0/0" }, "0.0.0.0/0 is no subnet"],
    [{ pool: "10.0.0.0/24", space: "LocalDefault" }, 'invalid address space "LocalDefault"'],
    [{ pool: "10.0.0.0/24", options: { "portolan.reserve": "10.0.0.250-10.0.1.3" } }, "reaches beyond 10.0.0.0/24"],
  ])("is refused when it makes no sense: %j", async (given, why) => {
    const host = await IpamHost.start();
    await expect(host.pool(given)).rejects.toThrow(why);
  });
});

describe("a pool that is ours to choose", () => {
  it("comes from the default pools, one after the other, clear of what the host uses", async () => {
    const host = await IpamHost.start({ defaultPools: "10.64.0.0/22,size=24;10.128.0.0/24", taken: ["10.64.1.7/32"] });
    const subnets = [];
    for (let count = 0; count < 4; count += 1) subnets.push(host.subnetOf(await host.pool({})));
    expect(subnets).toEqual(["10.64.0.0/24", "10.64.2.0/24", "10.64.3.0/24", "10.128.0.0/24"]);
    await expect(host.pool({})).rejects.toThrow(
      /all predefined address pools have been fully subnetted: 10\.64\.0\.0\/22 by \/24, 10\.128\.0\.0\/24 by \/24/,
    );
  });

  it("is of the size that a hint asks for", async () => {
    const host = await IpamHost.start();
    expect(host.subnetOf(await host.pool("0.0.0.0/24"))).toBe("10.64.0.0/24");
    expect(host.subnetOf(await host.pool({}))).toBe("10.64.1.0/24");
    expect(host.subnetOf(await host.pool("0.0.0.0/25"))).toBe("10.64.2.0/25");
    expect(host.subnetOf(await host.pool("::/120"))).toMatch(/^fd[0-9a-f:]+\/120$/);
    await expect(host.pool("0.0.0.0/8")).rejects.toThrow("fully subnetted");
  });

  it("can be chosen from a pool of the network's own", async () => {
    const host = await IpamHost.start();
    const options = { "portolan.default-pool": "10.200.0.0/16,size=26" };
    expect(host.subnetOf(await host.pool({ options }))).toBe("10.200.0.0/26");
  });

  it("is an IPv6 /64 out of the host's own unique local prefix", async () => {
    const host = await IpamHost.start();
    const [one, two] = [await host.pool({ ipv6: true }), await host.pool({ ipv6: true })].map((id) =>
      host.subnetOf(id)!,
    );
    expect(one).toMatch(/^fd[0-9a-f]{2}:[0-9a-f]{1,4}:[0-9a-f]{1,4}::\/64$/);
    expect(two).toBe(one!.replace("::/64", ":1::/64"));
  });
});

describe("an address", () => {
  it("is the lowest one free, after the gateway's", async () => {
    const host = await IpamHost.start();
    const pool = await host.pool("10.1.0.0/24");
    expect(await host.address(pool, { gateway: true })).toBe("10.1.0.1/24");
    expect(await host.address(pool)).toBe("10.1.0.2/24");
    expect(await host.address(pool, "10.1.0.3")).toBe("10.1.0.3/24");
    expect(await host.address(pool)).toBe("10.1.0.4/24");
  });

  // moby's TestRequest: how far 254 and 256 addresses reach.
  it.each([
    ["192.168.59.0/24", 254, "192.168.59.254/24"],
    ["192.168.0.0/16", 256, "192.168.1.0/16"],
    ["10.0.0.0/8", 256, "10.0.1.0/8"],
  ])("of %s is, as number %d, %s", async (subnet, count, last) => {
    const host = await IpamHost.start();
    const pool = await host.pool(subnet);
    let address = "";
    for (let number = 0; number < count; number += 1) address = await host.address(pool);
    expect(address).toBe(last);
  });

  // moby's TestUnusualSubnets, and the rules of RFC 3021, 4291 and 6164.
  it.each([
    ["192.168.0.2/31", ["192.168.0.2/31", "192.168.0.3/31"]],
    ["192.168.0.2/32", ["192.168.0.2/32"]],
    ["192.168.0.0/30", ["192.168.0.1/30", "192.168.0.2/30"]],
    ["fd00::/127", ["fd00::/127", "fd00::1/127"]],
    ["fd00::/126", ["fd00::1/126", "fd00::2/126", "fd00::3/126"]],
  ])("of %s can be one of %j", async (subnet, expected) => {
    const host = await IpamHost.start();
    expect(await exhaust(host, await host.pool(subnet))).toEqual(expected);
  });

  it("of an IPv6 subnet costs nothing by the subnet's size, up to its last one", async () => {
    const host = await IpamHost.start();
    const pool = await host.pool("fd00::/16");
    expect(await host.address(pool)).toBe("fd00::1/16");
    const last = "fd00:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    expect(await host.address(pool, last)).toBe(`${last}/16`);
    await host.restart();
    await expect(host.address(pool, last)).rejects.toThrow("Address already in use");
  });

  // moby's TestIPRangeAt64BitLimit: ranges at the end of a /64, and at a boundary inside a /56.
  it.each([
    ["fdb4:b1ac:7d8f::/64", "fdb4:b1ac:7d8f::ffff:ffff:ffff:fffe/127", "fdb4:b1ac:7d8f:0:ffff:ffff:ffff:fffe/64"],
    ["fdb4:b1ac:7d8f::/56", "fdb4:b1ac:7d8f:1::/127", "fdb4:b1ac:7d8f:1::/56"],
  ])("of %s is chosen inside its range %s", async (subnet, range, expected) => {
    const host = await IpamHost.start();
    const pool = await host.pool({ pool: subnet, range: range.replace("7d8f::ffff", "7d8f:0:ffff") });
    expect(await host.address(pool)).toBe(expected);
  });

  it("is chosen inside the range only, but may be named anywhere in the subnet", async () => {
    const host = await IpamHost.start();
    const pool = await host.pool({ pool: "10.1.0.0/24", range: "10.1.0.64/31" });
    expect(await host.address(pool, { address: "10.1.0.1", gateway: true })).toBe("10.1.0.1/24");
    expect(await host.address(pool, "10.1.0.65")).toBe("10.1.0.65/24");
    expect(await host.address(pool, "10.1.0.128")).toBe("10.1.0.128/24");
    expect(await host.address(pool)).toBe("10.1.0.64/24");
    await expect(host.address(pool)).rejects.toThrow(
      "no available addresses on this pool: all 2 addresses of --ip-range 10.1.0.64/31 of 10.1.0.0/24 are held",
    );
  });

  it.each([
    [
      "10.1.0.9",
      "Address already in use: 10.1.0.9 in 10.1.0.0/24 is held by a static address (02:00:00:00:00:09) since 2026-",
    ],
    ["10.1.0.1", "Address already in use: 10.1.0.1 in 10.1.0.0/24 is held by the gateway since 2026-"],
    ["10.2.0.9", "Requested address is out of range: 10.2.0.9 is not in 10.1.0.0/24"],
    ["fd00::9", "Requested address is out of range: fd00::9 is not in 10.1.0.0/24"],
    ["10.1.0.0", "10.1.0.0 is the network address of 10.1.0.0/24"],
    ["10.1.0.255", "10.1.0.255 is the broadcast address of 10.1.0.0/24"],
  ])("%s is refused in words that name subnet and owner", async (address, why) => {
    const host = await IpamHost.start();
    const pool = await host.pool("10.1.0.0/24");
    await host.address(pool, { gateway: true });
    await host.address(pool, { address: "10.1.0.9", mac: "02:00:00:00:00:09" });
    await expect(host.address(pool, address)).rejects.toThrow(why);
  });

  it("of a gateway must lie in the subnet", async () => {
    const host = await IpamHost.start();
    const pool = await host.pool("10.1.0.0/24");
    await expect(host.address(pool, { address: "10.2.0.1", gateway: true })).rejects.toThrow(
      "gateway 10.2.0.1 is outside its subnet 10.1.0.0/24",
    );
  });

  it("that is reserved is never chosen, and may be named", async () => {
    const host = await IpamHost.start();
    const options = { "portolan.reserve": "10.1.0.1-10.1.0.4, 10.1.0.6,10.9.0.0/16,fd00::/16" };
    const pool = await host.pool({ pool: "10.1.0.0/29", options });
    expect(await host.address(pool, "10.1.0.2")).toBe("10.1.0.2/29");
    expect(await exhaust(host, pool)).toEqual(["10.1.0.5/29"]);
  });

  it("released twice, or never held, or of a pool that is gone, is released", async () => {
    const host = await IpamHost.start();
    const pool = await host.pool("10.1.0.0/24");
    const address = await host.address(pool);
    await host.releaseAddress(pool, address);
    await host.releaseAddress(pool, address);
    await host.releaseAddress(pool, "10.99.0.1");
    await host.releasePool(pool);
    await host.releaseAddress(pool, address);
    await host.releasePool(pool);
  });

  it("is given one after the other when swarm asks so", async () => {
    const host = await IpamHost.start();
    const pool = await host.pool({ space: "tsGlobal", pool: "10.1.0.0/24", options: { "portolan.quarantine": "0" } });
    const one = await host.address(pool, { serial: true });
    await host.releaseAddress(pool, one);
    expect([one, await host.address(pool, { serial: true })]).toEqual(["10.1.0.1/24", "10.1.0.2/24"]);
  });
});

describe("a freed address", () => {
  it("rests before another container gets it, then the one that rested longest comes first", async () => {
    const host = await IpamHost.start();
    const pool = await host.pool("10.1.0.0/24");
    for (let count = 0; count < 3; count += 1) await host.address(pool);
    await host.releaseAddress(pool, "10.1.0.2");
    host.clock += 1000;
    await host.releaseAddress(pool, "10.1.0.1");
    expect(await host.address(pool)).toBe("10.1.0.4/24");
    host.clock += 59_000;
    await host.restart();
    expect(await host.address(pool)).toBe("10.1.0.2/24");
    expect(await host.address(pool)).toBe("10.1.0.5/24");
    host.clock += 1000;
    expect(await host.address(pool)).toBe("10.1.0.1/24");
  });

  it("is given at once when no other is left, the oldest first", async () => {
    const host = await IpamHost.start();
    const pool = await host.pool("10.1.0.0/29");
    await exhaust(host, pool);
    await host.releaseAddress(pool, "10.1.0.5");
    await host.releaseAddress(pool, "10.1.0.2");
    expect(await exhaust(host, pool)).toEqual(["10.1.0.5/29", "10.1.0.2/29"]);
  });

  // moby's TestRelease.
  it("comes back at once in a full subnet, whichever it is", async () => {
    const host = await IpamHost.start();
    const pool = await host.pool("10.1.0.0/23");
    await exhaust(host, pool);
    for (const address of ["10.1.0.5", "10.1.0.29", "10.1.0.255", "10.1.1.0", "10.1.1.254", "10.1.0.1"]) {
      await host.releaseAddress(pool, address);
      expect(await host.address(pool)).toBe(`${address}/23`);
    }
  });

  it("does not rest where the network says so", async () => {
    const host = await IpamHost.start();
    const pool = await host.pool({ pool: "10.1.0.0/24", options: { "portolan.quarantine": "0" } });
    await host.address(pool);
    await host.address(pool);
    await host.releaseAddress(pool, "10.1.0.1");
    expect(await host.address(pool)).toBe("10.1.0.1/24");
  });

  it("may be named while it rests", async () => {
    const host = await IpamHost.start();
    const pool = await host.pool("10.1.0.0/24");
    await host.address(pool);
    await host.releaseAddress(pool, "10.1.0.1");
    expect(await host.address(pool, "10.1.0.1")).toBe("10.1.0.1/24");
  });

  it.each([
    ["mac", { mac: "02:00:00:00:00:01" }, { mac: "02:00:00:00:00:02" }],
    ["name", { name: "web" }, { name: "db" }],
  ])("returns to its owner, known by %s, as long as others have some left", async (sticky, owner, other) => {
    const host = await IpamHost.start();
    const pool = await host.pool({ pool: "10.1.0.0/29", options: { "portolan.sticky": sticky } });
    expect(await host.address(pool, owner)).toBe("10.1.0.1/29");
    await host.releaseAddress(pool, "10.1.0.1");
    host.clock += 86_400_000;
    await host.restart();
    expect(await host.address(pool, other)).toBe("10.1.0.2/29");
    expect(await host.address(pool, owner)).toBe("10.1.0.1/29");
    await host.releaseAddress(pool, "10.1.0.1");
    expect(await exhaust(host, pool)).toEqual([
      "10.1.0.3/29",
      "10.1.0.4/29",
      "10.1.0.5/29",
      "10.1.0.6/29",
      "10.1.0.1/29",
    ]);
  });

  it("is nobody's in particular unless the network is sticky", async () => {
    const host = await IpamHost.start();
    const pool = await host.pool("10.1.0.0/24");
    const owner = { mac: "02:00:00:00:00:01" };
    await host.address(pool, owner);
    await host.releaseAddress(pool, "10.1.0.1");
    expect(await host.address(pool, owner)).toBe("10.1.0.2/24");
  });
});
