// kill -9 at every step of every IPAM call.
import assert from "node:assert/strict";
import { Cidr } from "../../values.ts";
import { IpamCaller } from "./ipam-caller.ts";
import type { Check } from "./network-checks.ts";
import { Rig } from "./rig.ts";
import type { IpamConformanceOptions } from "./subject.ts";

const MOST_STEPS = 500;
const SUBNET = "10.181.0.0/24";
const HELD = "10.181.0.20";
const RELEASED = "10.181.0.30";

interface IpamStep {
  readonly method: string;
  readonly body: (ipam: IpamCaller, poolId: string) => unknown;
}

const LIFE: readonly IpamStep[] = [
  { method: "RequestPool", body: (ipam) => ipam.poolBody(SUBNET) },
  { method: "RequestAddress", body: (ipam, poolId) => ipam.addressBody(poolId) },
  { method: "RequestAddress", body: (ipam, poolId) => ipam.addressBody(poolId, { gateway: true }) },
  { method: "ReleaseAddress", body: (_ipam, poolId) => ({ PoolID: poolId, Address: RELEASED }) },
  { method: "ReleasePool", body: (_ipam, poolId) => ({ PoolID: poolId }) },
];

const kills: Check<IpamConformanceOptions> = {
  name: "keeps its book through kill -9 at any step of any call",
  async run(factory) {
    // The PoolID does not depend on the host, as another check makes sure.
    await using first = await Rig.open(factory);
    const { id } = await (await IpamCaller.on(first)).pool(SUBNET);
    for (const step of LIFE) {
      for (let at = 0; at <= MOST_STEPS; at += 1) {
        assert.ok(at < MOST_STEPS, `${step.method} does not end after ${MOST_STEPS} steps`);
        await using rig = await Rig.open(factory);
        if (!(await killAt(rig, step, id, at))) break;
      }
    }
  },
};

/** @returns whether the call had that many steps */
async function killAt(rig: Rig, { method, body }: IpamStep, id: string, at: number): Promise<boolean> {
  const ipam = await IpamCaller.on(rig);
  const verb = `IpamDriver.${method}`;
  const hasPool = method !== "RequestPool";
  if (hasPool) {
    await ipam.pool(SUBNET);
    for (const address of [HELD, RELEASED]) await ipam.address(id, { address });
  }
  rig.arm(at);
  const outcome = await rig.call(verb, body(ipam, id));
  const { diedAt } = rig;
  if (diedAt === undefined) return false;
  const when = `after kill -9 at "${diedAt}" of ${method}`;
  assert.equal(outcome.status, undefined, `${method} was answered by a dead process`);
  await rig.killAndStart();
  const retry = await rig.call(verb);
  assert.notEqual(retry.error, "", `${method} that lost its body must be refused`);
  await rig.must(verb, body(ipam, id));
  if (hasPool && method !== "ReleasePool") {
    await ipam.mustNotGive(id, HELD);
    const given = Cidr.parse(await ipam.address(id)).address;
    assert.notEqual(given, HELD, `${when}, a held address was given again`);
  }
  // The first request may have been written down without an answer, so that the pool is now held twice.
  for (let time = 1; time <= 2; time += 1) await ipam.releasePool(id);
  await rig.mustLeaveNothing(`${when}, and the release of the pool`);
  return true;
}

export const ipamCrashChecks: readonly Check<IpamConformanceOptions>[] = [kills];
