// What each engine sends at its start, and what looks like it: no address and no pool may be given twice, none be lost.
import type { PoolId } from "@portolan/sdk";
import { IpamHost, type PoolArguments } from "./testing/ipam-host.ts";

type Engine = "20.10" | "26.1" | "28.5";

/** How the engines ask for the address spaces, as recorded from them: at registration, for a new pool, for a repeated one. */
const ENGINES = {
  "20.10": { registering: 1, creating: 0, repeating: 0 },
  "26.1": { registering: 0, creating: 1, repeating: 0 },
  "28.5": { registering: 0, creating: 2, repeating: 1 },
} as const;
const engines = Object.keys(ENGINES) as Engine[];

/** dockerd as far as its calls to an IPAM driver go. */
class Dockerd {
  readonly #host: IpamHost;
  readonly #asks: (typeof ENGINES)[Engine];

  constructor(host: IpamHost, engine: Engine) {
    this.#host = host;
    this.#asks = ENGINES[engine];
  }

  start(): void {
    this.#host.register();
    this.#host.askSpaces(this.#asks.registering);
  }

  async create(pool: PoolArguments, gateway?: string): Promise<PoolId> {
    this.#host.askSpaces(this.#asks.creating);
    const id = await this.#host.pool(pool);
    try {
      await this.#host.address(id, { gateway: true, ...(gateway === undefined ? {} : { address: gateway }) });
    } catch (error) {
      await this.#host.releasePool(id);
      throw error;
    }
    return id;
  }

  /** Replays one network; failures are only logged by dockerd. @returns what failed */
  async repeat(pool: PoolArguments, gateway: string | undefined, addresses: readonly string[]): Promise<string[]> {
    this.#host.askSpaces(this.#asks.repeating);
    const failed: string[] = [];
    const attempt = async (work: Promise<unknown>) => {
      await work.catch((error: unknown) => failed.push(String(error)));
    };
    const id = `tsLocal/${pool.pool}${pool.range === undefined ? "" : `/${pool.range}`}` as PoolId;
    await attempt(this.#host.pool(pool));
    if (gateway !== undefined) await attempt(this.#host.address(id, { gateway: true, address: gateway }));
    for (const address of addresses) await attempt(this.#host.address(id, address));
    return failed;
  }
}

const subnet = { pool: "10.92.0.0/24" };

/** A network with gateway .1, an aux address .9 and containers .2 and .3. */
async function networkOn(host: IpamHost, dockerd: Dockerd): Promise<PoolId> {
  dockerd.start();
  const pool = await dockerd.create(subnet);
  await host.address(pool, "10.92.0.9");
  await host.address(pool);
  await host.address(pool);
  host.clock += 5000;
  return pool;
}

describe.each(engines)("the start of dockerd %s", (engine) => {
  let host: IpamHost;
  let dockerd: Dockerd;
  let pool: PoolId;
  beforeEach(async () => {
    host = await IpamHost.start();
    dockerd = new Dockerd(host, engine);
    pool = await networkOn(host, dockerd);
  });

  it("may name again what it has, whether or not the plugin was started again meanwhile", async () => {
    const second = await dockerd.create({ pool: "10.93.0.0/24", range: "10.93.0.128/25" }, "10.93.0.1");
    for (let round = 0; round < 3; round += 1) {
      if (round === 1) await host.restart();
      dockerd.start();
      expect(await dockerd.repeat(subnet, "10.92.0.1", ["10.92.0.9", "10.92.0.3", "10.92.0.2"])).toEqual([]);
      expect(await dockerd.repeat({ pool: "10.93.0.0/24", range: "10.93.0.128/25" }, "10.93.0.1", [])).toEqual([]);
      await host.releaseAddress(pool, "10.92.0.3");
      host.clock += 100_000;
      expect(await host.address(pool)).toBe("10.92.0.3/24");
      expect(await host.address(second)).toMatch(/^10\.93\.0\.1\d\d\/24$/);
      await host.releaseAddress(second, "10.93.0.128");
      host.clock += 100_000;
    }
    expect(host.driver.lastStart).toEqual({ suspects: 0, freedAddresses: 0, freedPools: [] });
  });

  it("does not let two networks have one subnet, when the plugin was away while dockerd started", async () => {
    dockerd.start();
    await expect(dockerd.create(subnet)).rejects.toThrow("Pool overlaps");
    await expect(dockerd.create(subnet, "10.92.0.254")).rejects.toThrow("Pool overlaps");
    // The network that was there keeps all it had.
    expect(await host.address(pool)).toBe("10.92.0.4/24");
    await expect(host.address(pool, "10.92.0.2")).rejects.toThrow("Address already in use");
  });

  it("does not let two networks have one subnet, once it has repeated its own", async () => {
    dockerd.start();
    await dockerd.repeat(subnet, "10.92.0.1", ["10.92.0.9", "10.92.0.2", "10.92.0.3"]);
    await expect(dockerd.create(subnet)).rejects.toThrow("Pool overlaps");
    await expect(dockerd.create(subnet, "10.92.0.1")).rejects.toThrow("Pool overlaps");
    await expect(host.address(pool, "10.92.0.2")).rejects.toThrow("Address already in use");
  });

  it("names each address once: a second request for it is somebody else's", async () => {
    dockerd.start();
    expect(await dockerd.repeat(subnet, "10.92.0.1", ["10.92.0.2"])).toEqual([]);
    await expect(host.address(pool, "10.92.0.2")).rejects.toThrow("Address already in use");
    await expect(host.address(pool, { address: "10.92.0.3", gateway: true })).rejects.toThrow("Address already in use");
  });

  it("brings back what a lost record knew", async () => {
    host = await IpamHost.start();
    dockerd = new Dockerd(host, engine);
    dockerd.start();
    expect(await dockerd.repeat(subnet, "10.92.0.1", ["10.92.0.9", "10.92.0.2", "10.92.0.3"])).toEqual([]);
    expect(await host.address(pool)).toBe("10.92.0.4/24");
    await expect(dockerd.create(subnet)).rejects.toThrow("Pool overlaps");
  });

  it("frees what it did not name, at the second time and not before", async () => {
    for (const round of [1, 2]) {
      dockerd.start();
      expect(await dockerd.repeat(subnet, "10.92.0.1", ["10.92.0.9", "10.92.0.3"])).toEqual([]);
      // The first verb of daily work ends the repetition.
      const next = await host.address(pool);
      await host.settle();
      await host.releaseAddress(pool, next);
      expect(host.driver.lastStart).toEqual({
        suspects: round === 1 ? 1 : 0,
        freedAddresses: round - 1,
        freedPools: [],
      });
      host.clock += 1000;
    }
    await host.restart();
    expect(await host.address(pool, "10.92.0.2")).toBe("10.92.0.2/24");
    await expect(host.address(pool, "10.92.0.3")).rejects.toThrow("Address already in use");
  });

  it("forgives an address that it names again after having left it out", async () => {
    for (const named of [["10.92.0.3"], ["10.92.0.2", "10.92.0.3"], ["10.92.0.3"]]) {
      dockerd.start();
      await dockerd.repeat(subnet, "10.92.0.1", ["10.92.0.9", ...named]);
      await host.releaseAddress(pool, "10.92.0.77");
      await host.settle();
      host.clock += 1000;
    }
    await expect(host.address(pool, "10.92.0.2")).rejects.toThrow("Address already in use");
  });

  it("gives a forgotten network's subnet back at the second time, and then only", async () => {
    const lost = { pool: "10.99.0.0/24" };
    await dockerd.create(lost);
    host.clock += 1000;
    dockerd.start();
    await dockerd.repeat(subnet, "10.92.0.1", ["10.92.0.9", "10.92.0.2", "10.92.0.3"]);
    await host.releaseAddress(pool, "10.92.0.77");
    await expect(dockerd.create({ pool: "10.99.0.0/25" })).rejects.toThrow(/Pool overlaps.*ts-ipam leaks --release/);
    host.clock += 1000;
    dockerd.start();
    await dockerd.repeat(subnet, "10.92.0.1", ["10.92.0.9", "10.92.0.2", "10.92.0.3"]);
    await host.releaseAddress(pool, "10.92.0.77");
    await host.settle();
    expect(host.driver.lastStart?.freedPools).toEqual(["tsLocal/10.99.0.0/24"]);
    expect(await dockerd.create({ pool: "10.99.0.0/25" })).toBe("tsLocal/10.99.0.0/25");
  });

  it("may repeat the sizes it asked for in place of subnets, in any order", async () => {
    const pools = [await dockerd.create({ pool: "0.0.0.0/26" }), await dockerd.create({ pool: "0.0.0.0/26" })];
    const containers = await Promise.all(pools.map((id) => host.address(id)));
    host.clock += 1000;
    for (const order of [
      [0, 1],
      [1, 0],
    ]) {
      // prettier-ignore
      dockerd.start();
      for (const which of order) {
        host.askSpaces(ENGINES[engine].repeating);
        const answered = await host.pool("0.0.0.0/26");
        const gateway = `10.64.0.${which === 0 ? 1 : 65}`;
        expect(await host.address(answered, { gateway: true, address: gateway })).toBe(`${gateway}/26`);
        expect(await host.address(answered, containers[which]!.slice(0, -3))).toBe(containers[which]);
      }
      await host.releaseAddress(pool, "10.92.0.77");
      await host.settle();
      host.clock += 1000;
    }
    expect(host.subnetOf(await dockerd.create({ pool: "0.0.0.0/26" }))).toBe("10.64.0.128/26");
    for (const [index, id] of pools.entries()) {
      await expect(host.address(id, containers[index]!.slice(0, -3))).rejects.toThrow("Address already in use");
    }
  });

  it("proves nothing when dockerd names no pool: the plugin was away while it started", async () => {
    for (let round = 0; round < 3; round += 1) {
      dockerd.start();
      await host.releaseAddress(pool, "10.92.0.77");
      host.clock += 1000;
    }
    expect(host.driver.lastStart).toBeUndefined();
    await expect(host.address(pool, "10.92.0.2")).rejects.toThrow("Address already in use");
  });

  it("is over 30 s after its last verb", async () => {
    dockerd.start();
    host.clock += 31_000;
    expect(await dockerd.repeat(subnet, "10.92.0.1", [])).toEqual([
      expect.stringContaining("Pool overlaps"),
      expect.stringContaining("Address already in use"),
    ]);
  });
});

describe("without a start of dockerd", () => {
  it("nothing that is held is given again, also after a restart of the plugin", async () => {
    const host = await IpamHost.start();
    const pool = await networkOn(host, new Dockerd(host, "28.5"));
    await host.restart();
    await expect(host.pool(subnet)).rejects.toThrow("Pool overlaps");
    await expect(host.address(pool, { address: "10.92.0.1", gateway: true })).rejects.toThrow("Address already in use");
    await expect(host.address(pool, "10.92.0.2")).rejects.toThrow("Address already in use");
  });
});

describe("a swarm manager", () => {
  it("may name its networks and tasks again whenever it becomes leader, each once", async () => {
    const host = await IpamHost.start();
    const wanted = { space: "tsGlobal", pool: "10.78.0.0/24" };
    const pool = await host.pool(wanted);
    await host.address(pool, { gateway: true, serial: true });
    await host.address(pool, { serial: true });
    for (let round = 0; round < 2; round += 1) {
      expect(await host.pool(wanted)).toBe(pool);
      expect(await host.address(pool, { gateway: true, serial: true, address: "10.78.0.1" })).toBe("10.78.0.1/24");
      expect(await host.address(pool, { serial: true, address: "10.78.0.2" })).toBe("10.78.0.2/24");
      await expect(host.address(pool, "10.78.0.2")).rejects.toThrow("Address already in use");
    }
  });

  it("does not give a second network the same subnet", async () => {
    const host = await IpamHost.start();
    const wanted = { space: "tsGlobal", pool: "10.78.0.0/24" };
    const pool = await host.pool(wanted);
    await host.address(pool, { gateway: true, serial: true });
    await host.address(pool, { serial: true });
    expect(await host.pool(wanted)).toBe(pool);
    await expect(host.address(pool, { gateway: true, serial: true })).rejects.toThrow("Pool overlaps");
    await host.releasePool(pool);
    expect(await host.address(pool, { serial: true })).toBe("10.78.0.3/24");
  });

  it("that leads again has what the swarm has, and not what was given back while another one led", async () => {
    const host = await IpamHost.start();
    const wanted = { space: "tsGlobal", pool: "10.78.0.0/28", options: { "portolan.quarantine": "0" } };
    const pool = await host.pool(wanted);
    await host.address(pool, { gateway: true, serial: true });
    for (const last of [2, 3, 4]) expect(await host.address(pool, { serial: true })).toBe(`10.78.0.${last}/28`);
    // Another one led: 2 and 3 went, and 9 came.
    host.clock += 1000;
    await host.pool(wanted);
    await host.address(pool, { gateway: true, serial: true, address: "10.78.0.1" });
    for (const address of ["10.78.0.4", "10.78.0.9"]) await host.address(pool, { serial: true, address });
    host.clock += 1000;
    const rest = [5, 6, 7, 8, 10, 11, 12, 13, 14, 2, 3];
    for (const last of rest) expect(await host.address(pool, { serial: true })).toBe(`10.78.0.${last}/28`);
    await expect(host.address(pool, { serial: true })).rejects.toThrow("no available addresses");
  });
});

describe("a manager that begins to lead again", () => {
  const wanted = { space: "tsGlobal", pool: "10.78.0.0/24" };
  async function leadsAgain(): Promise<IpamHost> {
    const host = await IpamHost.start();
    host.register();
    const pool = await host.pool(wanted);
    await host.address(pool, { gateway: true, serial: true });
    for (const last of [2, 3]) expect(await host.address(pool, { serial: true })).toBe(`10.78.0.${last}/24`);
    host.clock += 60_000;
    host.register();
    return host;
  }

  it("has a subnet for another network, since the one that had it was removed while another manager led", async () => {
    const host = await leadsAgain();
    const pool = await host.pool({ ...wanted, pool: "10.78.0.0/23" });
    expect(await host.address(pool, { gateway: true, serial: true })).toBe("10.78.0.1/23");
    expect(await host.address(pool, { serial: true })).toBe("10.78.0.2/23");
    await expect(host.pool(wanted)).rejects.toThrow("Pool overlaps");
  });

  it("has what it names of the network that is still there, and nothing else", async () => {
    const host = await leadsAgain();
    const pool = await host.pool(wanted);
    expect(await host.address(pool, { gateway: true, serial: true, address: "10.78.0.1" })).toBe("10.78.0.1/24");
    for (const address of ["10.78.0.3", "10.78.0.4"]) await host.address(pool, { serial: true, address });
    for (const last of [2, 5]) expect(await host.address(pool, { serial: true })).toBe(`10.78.0.${last}/24`);
  });

  it("loses nothing of what it holds while nobody asks for its subnet, as when only the plugin was started again", async () => {
    const host = await leadsAgain();
    await expect(host.address("tsGlobal/10.78.0.0/24" as PoolId, "10.78.0.2")).rejects.toThrow("already in use");
    await host.restart();
    host.register();
    const pool = await host.pool(wanted);
    await expect(host.address(pool, { gateway: true, serial: true })).rejects.toThrow("Pool overlaps");
  });
});

describe("a node of a swarm", () => {
  const subnet = { pool: "10.78.0.0/24" };
  async function crashed(scope: "local" | "global"): Promise<IpamHost> {
    const host = await IpamHost.start({ scope });
    host.register();
    const pool = await host.pool(subnet);
    await host.address(pool, { gateway: true, address: "10.78.0.1" });
    await host.address(pool, "10.78.0.4");
    await host.restart();
    host.clock += 1000;
    host.register();
    // A swarm takes its time to place tasks, and the host's own networks do not wait for that.
    host.clock += 60_000;
    await host.address(await host.pool("10.1.0.0/24"));
    return host;
  }

  it("gets a network's pool again after a crash of dockerd, which names no network of a swarm at its start", async () => {
    const host = await crashed("global");
    const pool = await host.pool(subnet);
    expect(await host.address(pool, { gateway: true, address: "10.78.0.1" })).toBe("10.78.0.1/24");
    expect(await host.address(pool, "10.78.0.4")).toBe("10.78.0.4/24");
    expect(await host.address(pool, "10.78.0.5")).toBe("10.78.0.5/24");
    await expect(host.pool(subnet)).rejects.toThrow("Pool overlaps");
    await host.releasePool(pool);
    expect(await host.pool(subnet)).toBe(pool);
  });

  it("gives it to nobody who wants another gateway, nor to anybody else's on a host that serves no swarm", async () => {
    const node = await crashed("global");
    const pool = await node.pool(subnet);
    await expect(node.address(pool, { gateway: true })).rejects.toThrow("Pool overlaps");
    const host = await crashed("local");
    await expect(host.pool(subnet)).rejects.toThrow("Pool overlaps");
  });
});
