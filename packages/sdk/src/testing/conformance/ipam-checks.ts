// What every IPAM driver must hold to: one check for each sentence, each a plain function.
import assert from "node:assert/strict";
import { Cidr } from "../../values.ts";
import { ipamVerbs } from "../../wire/ipam-verbs.ts";
import type { EngineVersion } from "../dockerd/engine.ts";
import { FakeDaemon } from "../fake-daemon.ts";
import type { Exit } from "../fake-daemon.ts";
import { IpamCaller } from "./ipam-caller.ts";
import type { Check } from "./network-checks.ts";
import { Rig } from "./rig.ts";
import type { IpamConformanceOptions } from "./subject.ts";

type Options = IpamConformanceOptions;

const SUBNET = "10.181.0.0/24";
const SUBNET_IPV6 = "fd00:181::/64";
const DEFAULT_PARALLEL = 100;
const AUTOMATIC_POOLS = 8;

const addressSpaces: Check<Options> = {
  name: "names two address spaces, always the same",
  async run(factory) {
    await using rig = await Rig.open(factory);
    const first = await rig.must("IpamDriver.GetDefaultAddressSpaces");
    await rig.killAndStart();
    const second = await rig.must("IpamDriver.GetDefaultAddressSpaces");
    assert.deepEqual(second, first);
    const { LocalDefaultAddressSpace: local, GlobalDefaultAddressSpace: global } = first;
    assert.ok(typeof local === "string" && local !== "" && typeof global === "string" && global !== "");
    assert.notEqual(local, global, "swarm's book and the node's book would be one");
  },
};

const poolIds: Check<Options> = {
  name: "gives a pool the same PoolID on every host, and another one in each address space",
  async run(factory) {
    const ids: string[] = [];
    for (let time = 1; time <= 2; time += 1) {
      await using rig = await Rig.open(factory);
      const ipam = await IpamCaller.on(rig);
      const [local, global] = [await ipam.pool(SUBNET), await ipam.pool(SUBNET, { space: "global" })];
      assert.notEqual(local.id, global.id, "one PoolID for two address spaces");
      ids.push(`${local.id} ${global.id}`);
    }
    assert.equal(ids[0], ids[1]);
  },
};

const twoBooks: Check<Options> = {
  name: "keeps a book for each address space, as a swarm manager that runs tasks needs it",
  async run(factory) {
    await using rig = await Rig.open(factory);
    const ipam = await IpamCaller.on(rig);
    const [local, global] = [await ipam.pool(SUBNET), await ipam.pool(SUBNET, { space: "global" })];
    await ipam.address(global.id, { address: "10.181.0.9", serial: true });
    await ipam.address(local.id, { address: "10.181.0.9" });
    await ipam.releasePool(local.id);
    await ipam.mustNotGive(global.id, "10.181.0.9");
    await ipam.releasePool(global.id);
    await rig.mustLeaveNothing("after both pools were released");
  },
};

const automaticPools: Check<Options> = {
  name: "never chooses a pool twice, or one that overlaps another, while it is not released",
  async run(factory, { ipv6 = true }) {
    await using rig = await Rig.open(factory);
    const ipam = await IpamCaller.on(rig);
    for (const family of ipv6 ? [4, 6] : [4]) {
      const pools = [];
      for (let count = 0; count < AUTOMATIC_POOLS; count += 1) pools.push(await ipam.pool("", { ipv6: family === 6 }));
      for (const [index, { pool }] of pools.entries()) {
        const subnet = Cidr.parse(pool);
        assert.equal(subnet.subnet.toString(), pool, `${pool} has host bits`);
        assert.equal(subnet.family, family);
        for (const other of pools.slice(0, index)) {
          assert.ok(!Cidr.parse(other.pool).overlaps(subnet), `${pool} overlaps ${other.pool}`);
        }
      }
      for (const { id } of pools) await ipam.releasePool(id);
    }
    await rig.mustLeaveNothing("after all pools were released");
  },
};

const hostRoutes: Check<Options> = {
  name: "offers dockerd another pool for each that it refuses, and forgets the refused ones",
  async run(factory) {
    await using rig = await Rig.open(factory);
    const ipam = await IpamCaller.on(rig);
    const offered = await ipam.pool("");
    await ipam.releasePool(offered.id);
    await using daemon = new FakeDaemon({ socket: rig.socket, hostRoutes: [offered.pool] });
    const network = await daemon.createNetwork("a", { driver: "bridge", ipam: "plugin" });
    const chosen = network.pools[0]?.pool ?? "";
    assert.ok(!Cidr.parse(chosen).overlaps(Cidr.parse(offered.pool)), `${chosen} was refused and came again`);
    await daemon.removeNetwork("a");
    assert.deepEqual(daemon.log, []);
    await rig.mustLeaveNothing("after a pool was refused and the network removed");
  },
};

const addresses: Check<Options> = {
  name: "gives each address once, in the pool and with its prefix length, however many are asked for at once",
  async run(factory, { parallelAddresses = DEFAULT_PARALLEL }) {
    await using rig = await Rig.open(factory);
    const ipam = await IpamCaller.on(rig);
    const { id } = await ipam.pool(SUBNET);
    const gateway = await ipam.address(id, { gateway: true });
    const asked = Array.from({ length: parallelAddresses }, () => ipam.address(id));
    const given = [gateway, ...(await Promise.all(asked))];
    assert.equal(new Set(given).size, given.length, "an address was given twice");
    for (const text of given) {
      const address = Cidr.parse(text);
      assert.equal(address.subnet.toString(), SUBNET, `${text} is not in ${SUBNET}`);
      assert.ok(!["10.181.0.0", "10.181.0.255"].includes(address.address), `${text} is no host's address`);
    }
    await ipam.releasePool(id);
    await rig.mustLeaveNothing("after the pool was released with its addresses");
  },
};

const wanted: Check<Options> = {
  name: "gives the address that is asked for, and refuses one that is held",
  async run(factory) {
    await using rig = await Rig.open(factory);
    const ipam = await IpamCaller.on(rig);
    const { id } = await ipam.pool(SUBNET);
    assert.equal(await ipam.address(id, { address: "10.181.0.77" }), "10.181.0.77/24");
    await ipam.mustNotGive(id, "10.181.0.77");
    await ipam.releaseAddress(id, "10.181.0.77");
    assert.equal(await ipam.address(id, { address: "10.181.0.77" }), "10.181.0.77/24");
    await ipam.mustNotGive(id, "10.99.0.1");
    await ipam.releasePool(id);
  },
};

const ranges: Check<Options> = {
  name: "takes addresses from --ip-range, and accepts others of the pool that are named",
  async run(factory) {
    await using rig = await Rig.open(factory);
    const ipam = await IpamCaller.on(rig);
    const range = Cidr.parse("10.181.0.128/25");
    const { id } = await ipam.pool(SUBNET, { range: range.toString() });
    for (let count = 0; count < 5; count += 1) {
      const given = await ipam.address(id);
      assert.ok(range.contains(Cidr.parse(given).address), `${given} is outside of the range ${range.toString()}`);
    }
    assert.equal(await ipam.address(id, { address: "10.181.0.5" }), "10.181.0.5/24");
    await ipam.releasePool(id);
    await rig.mustLeaveNothing("after the pool was released");
  },
};

const lateReleases: Check<Options> = {
  name: "lets releases of what it does not hold succeed",
  async run(factory) {
    await using rig = await Rig.open(factory);
    const ipam = await IpamCaller.on(rig);
    await ipam.releaseAddress("no/such/pool", "10.181.0.9");
    await ipam.releasePool("no/such/pool");
    const { id } = await ipam.pool(SUBNET);
    await ipam.releaseAddress(id, "10.181.0.9");
    const given = Cidr.parse(await ipam.address(id)).address;
    for (let time = 1; time <= 2; time += 1) await ipam.releaseAddress(id, given);
    for (let time = 1; time <= 2; time += 1) await ipam.releasePool(id);
    await rig.mustLeaveNothing("after releases that came twice");
  },
};

const emptyBodies: Check<Options> = {
  name: "refuses a call that lost its body, and does nothing",
  async run(factory) {
    await using rig = await Rig.open(factory);
    const ipam = await IpamCaller.on(rig);
    const { id } = await ipam.pool(SUBNET);
    await ipam.address(id);
    const before = await rig.host.inventory();
    for (const [verb, { needsBody }] of Object.entries(ipamVerbs)) {
      if (!needsBody) continue;
      const { error, status } = await rig.call(verb);
      assert.ok(error !== "" && status !== undefined, `${verb} with an empty body must be refused`);
    }
    assert.deepEqual(await rig.host.inventory(), before, "a call without a body changed something");
  },
};

const remembers: Check<Options> = {
  name: "remembers pools and addresses over restart and kill -9 between any two calls",
  async run(factory) {
    for (const next of ["restart", "killAndStart"] as const) {
      await using rig = await Rig.open(factory);
      const ipam = await IpamCaller.on(rig);
      const { id } = await ipam.pool(SUBNET);
      const held = new Set<string>();
      for (let count = 0; count < 5; count += 1) {
        await rig[next]();
        const given = await ipam.address(id);
        assert.ok(!held.has(given), `${given} was given twice, a restart apart`);
        held.add(given);
      }
      for (const address of held) {
        await rig[next]();
        await ipam.mustNotGive(id, Cidr.parse(address).address);
        await ipam.releaseAddress(id, Cidr.parse(address).address);
      }
      await ipam.releasePool(id);
      await rig[next]();
      await rig.mustLeaveNothing("after everything was released");
    }
  },
};

const dockerds = (engine: EngineVersion): Check<Options> => ({
  name: `serves dockerd ${engine} through its restarts and crashes, replays included`,
  async run(factory) {
    for (const exit of ["graceful", "crash", "live-restore"] satisfies Exit[]) {
      await using rig = await Rig.open(factory);
      await using daemon = new FakeDaemon({ socket: rig.socket, engine });
      const subnets = [{ subnet: SUBNET, gateway: "10.181.0.254", aux: { router: "10.181.0.9" } }];
      await daemon.createNetwork("a", { driver: "bridge", ipam: "plugin", subnets });
      await daemon.runContainer("back", { network: "a", restart: "always", ip: "10.181.0.20" });
      await daemon.runContainer("gone", { network: "a" });
      await daemon.restart(exit, () => rig.killAndStart());
      assert.ok(daemon.containers.get("back")?.sandbox, `"back" is not back after ${exit}: ${daemon.log.join("; ")}`);
      await daemon.runContainer("new", { network: "a" });
      const held = [...daemon.containers.values()].flatMap(({ sandbox }) => sandbox?.endpoints ?? []);
      const given = held.map(({ address }) => address);
      assert.equal(new Set(given).size, given.length, `an address was given twice: ${given.join(", ")}`);
      for (const name of ["back", "gone", "new"]) await daemon.removeContainer(name);
      await daemon.removeNetwork("a");
      assert.deepEqual(daemon.log, [], `dockerd had to ignore failures: ${daemon.log.join("; ")}`);
      await rig.mustLeaveNothing(`after ${exit}`);
    }
  },
});

const bothFamilies: Check<Options> = {
  name: "serves pools of both families",
  async run(factory, { ipv6 = true }) {
    if (!ipv6) return;
    await using rig = await Rig.open(factory);
    const ipam = await IpamCaller.on(rig);
    const { id } = await ipam.pool(SUBNET_IPV6, { ipv6: true });
    const given = Cidr.parse(await ipam.address(id));
    assert.equal(given.subnet.toString(), SUBNET_IPV6);
    assert.notEqual(given.address, Cidr.parse(SUBNET_IPV6).address, "the subnet-router anycast address was given away");
    await ipam.releaseAddress(id, given.address);
    await ipam.releasePool(id);
    await rig.mustLeaveNothing("after an IPv6 pool");
  },
};

export const ipamChecks: readonly Check<Options>[] = [
  addressSpaces,
  poolIds,
  twoBooks,
  automaticPools,
  hostRoutes,
  addresses,
  wanted,
  ranges,
  lateReleases,
  emptyBodies,
  bothFamilies,
  remembers,
  ...(["20.10", "26.1", "28.5"] as const).map(dockerds),
];
