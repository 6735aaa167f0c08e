// A key that is kept alive, on a real etcd that goes away for longer than its lease lasts. Leases are short here, as is patience.
import { execFileSync } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { Etcd3 } from "etcd3";
import { EtcdMembers } from "../testing/etcd-members.ts";
import { eventually } from "../testing/shared-contract.ts";
import { KeptAlive } from "./kept-alive.ts";

const KEY = "/kept/hosts/a";
const LEASE_SECONDS = 2;
/** The package gives a lease up when it was not heard of for twice as long as it lasts. */
const OUTAGE_MS = 2 * LEASE_SECONDS * 1000 + 6_000;
/** Long enough for a lease that nobody keeps to lapse: etcd looks every half second. */
const LAPSE_MS = LEASE_SECONDS * 1000 + 3_000;
const TEST_MS = 120_000;

let members: EtcdMembers;
/** The test's own, which is patient, and the one under test. */
let etcd: Etcd3;
let kept: Etcd3;
let alive: KeptAlive;

beforeAll(() => {
  execFileSync("ip", ["link", "set", "lo", "up"]);
});
beforeEach(async () => {
  members = await EtcdMembers.start(1);
  [etcd, kept] = [connect(20_000), connect(1_500)];
  alive = new KeptAlive({ etcd: kept, key: KEY, value: "1", leaseSeconds: LEASE_SECONDS });
  await eventually(isThere);
});
afterEach(async () => {
  await alive[Symbol.asyncDispose]();
  kept.close();
  etcd.close();
  await members[Symbol.asyncDispose]();
});

/** @param answerMs how long an answer may take */
const connect = (answerMs: number) =>
  new Etcd3({
    hosts: `http://127.0.0.1:${members.port(0)}`,
    defaultCallOptions: ({ isStream }) => (isStream ? {} : { deadline: Date.now() + answerMs }),
  });
const lease = async () => (await etcd.get(KEY).exec()).kvs[0]?.lease;
const isThere = async () => (await lease()) !== undefined;
/** On another lease than it was: the former one may outlast an etcd that is started again. */
const isThereAgain = (former: string | undefined) =>
  eventually(async () => ![former, undefined].includes(await lease().catch(() => undefined)), 30);
const leases = async () => (await etcd.leaseClient.leaseLeases()).leases;

async function expectToStay(): Promise<void> {
  const end = Date.now() + LAPSE_MS;
  while (Date.now() < end) {
    expect(await isThere()).toBe(true);
    await sleep(100);
  }
  // A lease more would say that there is one more keeper than one.
  expect(await leases()).toHaveLength(1);
}

describe("a key that is kept alive", () => {
  it(
    "comes back for good after etcd was away for longer than the lease lasts",
    async () => {
      const former = await lease();
      await members.kill(0);
      await sleep(OUTAGE_MS);
      await members.run(0);
      await isThereAgain(former);
      await expectToStay();
    },
    TEST_MS,
  );

  it(
    "comes back for good after etcd hung for longer than the lease lasts",
    async () => {
      const former = await lease();
      await members.freeze(0);
      await sleep(OUTAGE_MS);
      members.thaw(0);
      await isThereAgain(former);
      await expectToStay();
    },
    TEST_MS,
  );

  it(
    "comes back when its lease was revoked by somebody else, and when it was itself removed",
    async () => {
      const revoked = await lease();
      await etcd.leaseClient.leaseRevoke({ ID: revoked ?? "" });
      expect(await isThere()).toBe(false);
      await isThereAgain(revoked);
      const former = await lease();
      await etcd.delete().key(KEY).exec();
      await isThereAgain(former);
      await expectToStay();
    },
    TEST_MS,
  );

  it("is gone as soon as nobody keeps it", async () => {
    await alive[Symbol.asyncDispose]();
    expect(await isThere()).toBe(false);
    expect(await leases()).toEqual([]);
  });
});
