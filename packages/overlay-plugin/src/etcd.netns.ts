// Hosts on kernels in memory and one real etcd: what each kernel is told when the cluster's store is asked for credentials,
// compacted, restored from an older copy, cut off, and when hosts come back with what they knew long ago.
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { request } from "node:https";
import { storeAccess } from "@portolan/sdk";
import { EtcdStore } from "@portolan/state/etcd";
import { Certificates, EtcdMembers, Relays } from "@portolan/state/testing";
import { setTimeout as sleep } from "node:timers/promises";
import { forget } from "./cluster/forget.ts";
import { TestHost } from "./testing/host.ts";

const WEB = { "10.9.0.5": "192.0.2.1", "fd00:9::5": "192.0.2.1" };
/** Until a host that was cut off is away: its lease, and a little; milliseconds. */
const LAPSED = 25_000;
const LONG = 120_000;

beforeAll(() => {
  execFileSync("ip", ["link", "set", "lo", "up"]);
});

let members: EtcdMembers;
let stack: AsyncDisposableStack;
beforeEach(() => {
  stack = new AsyncDisposableStack();
});
afterEach(() => stack.disposeAsync(), 60_000);

async function startEtcd(...words: Parameters<typeof EtcdMembers.start>): Promise<string> {
  members = stack.use(await EtcdMembers.start(...words));
  return `127.0.0.1:${members.port(0)}`;
}

interface Wired {
  readonly host: TestHost;
  readonly relays: Relays;
}

/** A host with a wire of its own to etcd. */
async function boot(name: string, number: number): Promise<Wired> {
  const relays = stack.use(await Relays.to(members.ports));
  const store = stack.use(new EtcdStore({ url: relays.url, root: "/portolan/overlay/" }));
  const host = stack.use(await TestHost.bootOn(store, name, number));
  return { host, relays };
}

async function eventually(look: () => Promise<void> | void, ms = 20_000): Promise<void> {
  for (const end = Date.now() + ms; ;) {
    try {
      await look();
      return;
    } catch (error) {
      if (Date.now() > end) throw error;
      await sleep(50);
    }
  }
}
const told = (host: TestHost, expected: object, ms?: number) =>
  eventually(async () => expect(await host.told("net")).toEqual(expected), ms);
const peer = (host: TestHost, name: string) => host.overlay.status().peers.find(({ host: other }) => other === name);

it(
  "a host is let in by certificate and password, and one without them is told which it lacks",
  async () => {
    using certificates = stack.use(new Certificates());
    const address = await startEtcd(1, "https", certificates.etcdFlags);
    const agent = {
      ca: certificates.read("ca.pem"),
      cert: certificates.read("client.pem"),
      key: certificates.read("client.key"),
    };
    const ask = async (path: string, body: object) => {
      const asking = request(`https://${address}/v3/auth/${path}`, { method: "POST", ...agent });
      asking.end(JSON.stringify(body));
      const [answer] = (await once(asking, "response")) as [NodeJS.ReadableStream & { statusCode: number }];
      answer.resume();
      expect(answer.statusCode).toBe(200);
    };
    await ask("role/add", { name: "root" });
    await ask("user/add", { name: "root", password: "s3cret" });
    await ask("user/grant", { user: "root", role: "root" });
    await ask("enable", {});
    writeFileSync(certificates.path("password"), "s3cret\n");
    writeFileSync(certificates.path("guess"), "guess\n");
    const ca = { store: `etcds://${address}`, storeCa: certificates.path("ca.pem") };
    const tls = { ...ca, storeCert: certificates.path("client.pem"), storeKey: certificates.path("client.key") };
    const user = (file: string) => ({ storeUser: "root", storePasswordFile: certificates.path(file) });
    const open = (settings: Parameters<typeof storeAccess>[0]) =>
      stack.use(new EtcdStore({ ...storeAccess(settings)!, root: "/portolan/overlay/" }));

    const one = stack.use(await TestHost.bootOn(open({ ...tls, ...user("password") }), "one", 1));
    const two = stack.use(await TestHost.bootOn(open({ ...tls, ...user("password") }), "two", 2));
    await one.create("net");
    await two.create("net");
    await one.attach("net", "web", 5);
    await told(two, WEB);

    const guesser = stack.use(await TestHost.bootOn(open({ ...tls, ...user("guess") }), "guesser", 3));
    await expect(guesser.create("net")).rejects.toThrow(
      /the shared store etcds:.* refuses this host: .*authentication failed/,
    );
    expect(guesser.overlay.status().trouble).toMatch(/refuses this host/);
    const nobody = stack.use(await TestHost.bootOn(open({ ...ca, ...user("password") }), "nobody", 4));
    await expect(nobody.create("net")).rejects.toThrow(/the shared store etcds:.* is away/);
  },
  LONG,
);

it(
  "a host that was cut off while etcd was compacted knows all again, and lost nothing meanwhile",
  async () => {
    const address = await startEtcd(1);
    const [{ host: one }, { host: two, relays }] = [await boot("one", 1), await boot("two", 2)];
    for (const host of [one, two]) await host.create("net");
    await one.attach("net", "web", 5);
    await one.attach("net", "old", 6);
    await told(two, { ...WEB, "10.9.0.6": "192.0.2.1", "fd00:9::6": "192.0.2.1" });
    relays.cut();
    await one.detach("net", "old");
    for (let n = 10; n < 20; n += 1) await one.attach("net", `new${n}`, n);
    const { revision } = await one.shared.list("networks/");
    const body = JSON.stringify({ revision: String(revision), physical: true });
    await fetch(`http://${address}/v3/kv/compaction`, { method: "POST", body });
    expect(await two.told("net")).toMatchObject(WEB);
    relays.mend();
    const now = Array.from({ length: 10 }, (_, n) => [`10.9.0.${10 + n}`, `fd00:9::${10 + n}`]).flat();
    await told(two, { ...WEB, ...Object.fromEntries(now.map((each) => [each, "192.0.2.1"])) });
    // And it hears what happens from now on.
    await one.detach("net", "web");
    await told(two, Object.fromEntries(now.map((each) => [each, "192.0.2.1"])));
  },
  LONG,
);

it(
  "hosts tell an etcd that was restored from an older copy what they have, and what went stays away",
  async () => {
    await startEtcd(1);
    const [{ host: one }, { host: two }] = [await boot("one", 1), await boot("two", 2)];
    for (const host of [one, two]) await host.create("net");
    await one.attach("net", "old", 4);
    const restore = await members.copy(0);
    const attached = () =>
      one.attach("net", "web", 5).then(
        () => true,
        () => false,
      );
    await eventually(async () => expect(await attached()).toBe(true));
    await one.detach("net", "old");
    await told(two, WEB);
    await restore();
    await eventually(async () => {
      const { entries } = await two.shared.list("networks/net/endpoints/");
      expect(entries.map(({ key }) => key).toSorted()).toEqual([
        "networks/net/endpoints/10.9.0.5",
        "networks/net/endpoints/fd00:9::5",
      ]);
    }, 40_000);
    await told(two, WEB);
  },
  LONG,
);

it(
  "a host that etcd does not hear of is away after its lease, is sent to for as long as the option says, and is back at once",
  async () => {
    await startEtcd(1);
    const [{ host: one, relays }, { host: two }] = [await boot("one", 1), await boot("two", 2)];
    await one.create("net", { "portolan.peer-timeout": "3s" });
    await two.create("net");
    await one.attach("net", "web", 5);
    await told(two, WEB);
    relays.cut();
    await expect(one.attach("net", "late", 7)).rejects.toThrow(/the shared store etcd:.* is away/);
    await eventually(() => expect(peer(two, "one")).toMatchObject({ alive: false }), LAPSED);
    expect(await two.told("net")).toEqual(WEB);
    await told(two, {}, 6_000);
    // Its entries stay: nobody else gets its containers' addresses by mistake of a timer.
    expect((await two.shared.list("networks/net/endpoints/")).entries).toHaveLength(2);
    relays.mend();
    await told(two, WEB);
    expect(peer(two, "one")).toMatchObject({ alive: true });
  },
  LONG,
);

it(
  "a host that leaves says so: its entries go at once, and not after its lease",
  async () => {
    await startEtcd(1);
    const [{ host: one }, { host: two }] = [await boot("one", 1), await boot("two", 2)];
    for (const host of [one, two]) await host.create("net");
    await one.attach("net", "web", 5);
    await told(two, WEB);
    await one.remove("net");
    await told(two, {}, 2_000);
    await eventually(() => expect(two.overlay.status().networks[0]?.hosts).toEqual(["two"]), 2_000);
    await one.overlay[Symbol.asyncDispose]();
    await eventually(() => expect(peer(two, "one")).toMatchObject({ alive: false }), 2_000);
  },
  LONG,
);

it(
  "a clock that jumps an hour ahead or back makes nobody be away, and containers are made as before",
  async () => {
    await startEtcd(1);
    const [{ host: one }, { host: two }] = [await boot("one", 1), await boot("two", 2)];
    for (const host of [one, two]) await host.create("net");
    await one.attach("net", "web", 5);
    await told(two, WEB);
    const [real, absences] = [Date.now, [] as unknown[]];
    try {
      for (const [number, jump] of [3_600_000, -3_600_000].entries()) {
        Date.now = () => real() + jump;
        // Longer than a lease, so that one that went by the clock would lapse.
        for (let second = 0; second < 18; second += 1) {
          await sleep(1_000);
          for (const name of ["one", "two"]) if (peer(two, name)?.alive !== true) absences.push([jump, second, name]);
        }
        const address = 20 + number;
        await two.attach("net", `new${number}`, address);
        await eventually(async () => expect(await one.told("net")).toHaveProperty([`10.9.0.${address}`]));
      }
    } finally {
      Date.now = real;
    }
    expect(absences).toEqual([]);
    expect(await two.told("net")).toEqual(WEB);
  },
  LONG,
);

it(
  "a host that comes back with its records of an hour ago takes no address from who has it now, and has the rest again",
  async () => {
    await startEtcd(1);
    const [{ host: one, relays }, { host: two }] = [await boot("one", 1), await boot("two", 2)];
    for (const host of [one, two]) await host.create("net");
    await one.attach("net", "web", 5);
    await one.attach("net", "db", 6);
    await told(two, { ...WEB, "10.9.0.6": "192.0.2.1", "fd00:9::6": "192.0.2.1" });
    // It dies; an operator has the cluster forget it, and another host gets one of its addresses.
    relays.cut();
    await one.overlay[Symbol.asyncDispose]();
    await eventually(() => expect(peer(two, "one")).toMatchObject({ alive: false }), LAPSED);
    expect(await forget(two.shared, "two", "one")).toEqual(["net"]);
    await told(two, {});
    await two.attach("net", "heir", 5);
    relays.mend();
    await one.restart();
    await told(two, { "10.9.0.6": "192.0.2.1", "fd00:9::6": "192.0.2.1" });
    await eventually(() =>
      expect(one.overlay.status().networks[0]).toMatchObject({
        hosts: ["two", "one"],
        trouble: expect.stringMatching(/^the address 10\.9\.0\.5 is held by a container on the host two\./) as string,
      }),
    );
    const { entries } = await two.shared.list("networks/net/endpoints/");
    const holders = entries.map(({ key, value }) => [
      key.slice("networks/net/endpoints/".length),
      (value as { host: string }).host,
    ]);
    expect(holders).toEqual([
      ["10.9.0.5", "two"],
      ["10.9.0.6", "one"],
      ["fd00:9::5", "two"],
      ["fd00:9::6", "one"],
    ]);
  },
  LONG,
);
