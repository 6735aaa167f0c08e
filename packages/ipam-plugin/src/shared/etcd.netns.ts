// The shared store on real etcd servers: three members, one killed, the leader changed, a host cut off.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { PoolId } from "@portolan/sdk";
import { EtcdMembers, Relays } from "@portolan/state/testing";
import { IpamHost } from "../testing/ipam-host.ts";
import { EtcdStore, type EtcdSettings } from "./etcd-store.ts";
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

/** As an operator does, or somebody else's program. */
async function ask(members: EtcdMembers, what: string, body: object): Promise<void> {
  const url = `http://127.0.0.1:${members.port(0)}/v3/${what}`;
  const answer = await fetch(url, { method: "POST", body: JSON.stringify(body) });
  expect(answer.status).toBe(200);
}

const open = (settings: EtcdSettings, host = "one") => Object.assign(new EtcdStore(settings), { host });

describe("etcd as a shared store", () => {
  let members: EtcdMembers;
  let store: ReturnType<typeof open>;
  beforeAll(async () => {
    members = await EtcdMembers.start(1);
    store = open({ url: `etcd://127.0.0.1:${members.port(0)}` });
  });
  afterAll(async () => {
    await store[Symbol.asyncDispose]();
    await members[Symbol.asyncDispose]();
  });

  it("does all of a transaction or nothing of it", async () => {
    expect(await store.get("t/a")).toBeUndefined();
    expect(await store.transact([{ key: "t/a", absent: true }], [{ key: "t/a", value: { n: 1 } }])).toBe(true);
    expect(await store.transact([{ key: "t/a", absent: true }], [{ key: "t/a", value: { n: 2 } }])).toBe(false);
    const entry = (await store.get("t/a"))!;
    expect(entry).toMatchObject({ key: "t/a", value: { n: 1 } });
    const both = [
      { key: "t/a", version: entry.version },
      { key: "t/b", absent: true },
    ] as const;
    const writes = [
      { key: "t/a", value: undefined },
      { key: "t/b", value: [3] },
    ];
    expect(await store.transact(both, writes)).toBe(true);
    expect(await store.transact(both, writes)).toBe(false);
    expect((await store.list("t/")).map(({ key, value }) => [key, value])).toEqual([["t/b", [3]]]);
  });

  it("tells changes, in their order", async () => {
    const seen: unknown[] = [];
    let again = 0;
    await using _watch = store.watch(
      "w/",
      (key, value) => seen.push([key, value]),
      () => (again += 1),
    );
    await eventually(() => again > 0);
    await store.transact([{ key: "w/a", absent: true }], [{ key: "w/a", value: 1 }]);
    await store.transact([{ key: "x/a", absent: true }], [{ key: "x/a", value: 1 }]);
    await store.transact([{ key: "w/b", absent: true }], [{ key: "w/a", value: undefined }]);
    await eventually(() => seen.length === 2);
    expect(seen).toEqual([
      ["w/a", 1],
      ["w/a", undefined],
    ]);
  });

  it("tells that changes may have been missed when etcd has forgotten them meanwhile, and then goes on telling", async () => {
    await using relays = await Relays.to([members.port(0)]);
    await using far = open({ url: relays.url });
    const seen: unknown[] = [];
    let again = 0;
    await using _watch = far.watch(
      "c/",
      (key, value) => seen.push([key, value]),
      () => (again += 1),
    );
    await eventually(() => again > 0);
    relays.cut();
    for (let count = 0; count < 5; count += 1) {
      const before = await store.get("c/a");
      const condition = before ? { key: "c/a", version: before.version } : ({ key: "c/a", absent: true } as const);
      await store.transact([condition], [{ key: "c/a", value: count }]);
    }
    const { version } = (await store.get("c/a"))!;
    await ask(members, "kv/compaction", { revision: version, physical: true });
    again = 0;
    relays.mend();
    await eventually(() => again > 0);
    await eventually(async () => {
      const before = (await store.get("c/a"))!;
      await store.transact([{ key: "c/a", version: before.version }], [{ key: "c/a", value: "after" }]);
      return seen.some((change) => JSON.stringify(change) === '["c/a","after"]');
    });
  });

  it("survives what others write among its keys", async () => {
    let again = 0;
    const seen: unknown[] = [];
    await using _watch = store.watch(
      "f/",
      (key) => seen.push(key),
      () => (again += 1),
    );
    await eventually(() => again === 1);
    await ask(members, "kv/put", { key: btoa("/portolan/ipam/f/a"), value: btoa("no JSON") });
    await eventually(() => again === 2);
    await store.transact([{ key: "f/b", absent: true }], [{ key: "f/b", value: 1 }]);
    await eventually(() => seen.length === 1);
  });

  it("keeps a key while its owner lives", async () => {
    {
      await using _alive = store.keepAlive("hosts/a", { id: "x" });
      await eventually(async () => (await store.get("hosts/a")) !== undefined);
    }
    expect(await store.get("hosts/a")).toBeUndefined();
  });

  it("says in time that a server hangs", async () => {
    await members.freeze(0);
    const started = Date.now();
    await expect(store.get("t/a")).rejects.toThrow(/the shared store etcd:\/\/127\.0\.0\.1:\d+ is away/);
    expect(Date.now() - started).toBeLessThan(10_000);
    members.thaw(0);
    await eventually(() =>
      store.get("t/a").then(
        () => true,
        () => false,
      ),
    );
  });
});

describe("three members", () => {
  let members: EtcdMembers;
  const hosts: { host: IpamHost; relays: Relays }[] = [];
  const given = new Map<string, string>();

  beforeAll(async () => {
    members = await EtcdMembers.start(3);
    await members.leader();
    for (const name of ["one", "two", "three"]) {
      const relays = await Relays.to(members.ports);
      const host = await IpamHost.start({ wire: open({ url: relays.url }, name), patience: 3_000 });
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
          given.set(address, host.wire!.host);
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

describe("etcd that wants to know who asks", () => {
  it("is given a name and a password", async () => {
    await using members = await EtcdMembers.start(1, "http", ["--auth-token-ttl", "2"]);
    const root = { username: "root", password: "s3cret" };
    await ask(members, "auth/role/add", { name: "root" });
    await ask(members, "auth/user/add", { name: root.username, password: root.password });
    await ask(members, "auth/user/grant", { user: root.username, role: "root" });
    await ask(members, "auth/enable", {});
    const url = `etcd://127.0.0.1:${members.port(0)}`;
    await using stranger = open({ url });
    await expect(stranger.get("a")).rejects.toThrow(/the shared store etcd:.* refuses this host: .*user name is empty/);
    await using wrong = open({ url, auth: { ...root, password: "guess" } });
    await expect(wrong.get("a")).rejects.toThrow("refuses this host");
    await using known = open({ url, auth: root });
    const seen: unknown[] = [];
    await using _watch = known.watch(
      "",
      (key) => seen.push(key),
      () => seen.push("again"),
    );
    await eventually(() => seen.includes("again"));
    expect(await known.transact([{ key: "a", absent: true }], [{ key: "a", value: 1 }])).toBe(true);
    await eventually(() => seen.includes("a"));
    // Tokens expire, and etcd is started again.
    await sleep(4_000);
    expect(await known.get("a")).toMatchObject({ value: 1 });
    await members.kill(0);
    await members.run(0);
    await eventually(() => known.get("a").then(Boolean, () => false));
    seen.length = 0;
    await eventually(async () => {
      const { version } = (await known.get("a"))!;
      await known.transact([{ key: "a", version }], [{ key: "a", value: Date.now() }]);
      return seen.includes("a");
    });
  }, 60_000);

  it("is given certificates", async () => {
    const home = mkdtempSync(join(tmpdir(), "ts-ipam-tls-"));
    const at = (name: string) => join(home, name);
    const openssl = (...args: string[]) => execFileSync("openssl", args, { stdio: "ignore" });
    const subject = (name: string) => ["-subj", `/CN=${name}`, "-nodes", "-newkey", "rsa:2048"];
    openssl("req", "-x509", ...subject("authority"), "-days", "1", "-keyout", at("ca.key"), "-out", at("ca.pem"));
    for (const name of ["server", "client"]) {
      openssl("req", ...subject(name), "-keyout", at(`${name}.key`), "-out", at(`${name}.csr`));
      const signed = ["-CA", at("ca.pem"), "-CAkey", at("ca.key"), "-CAcreateserial", "-days", "1"];
      writeFileSync(at("names"), "subjectAltName=IP:127.0.0.1\n");
      const names = ["-extfile", at("names"), "-out", at(`${name}.pem`)];
      openssl("x509", "-req", "-in", at(`${name}.csr`), ...signed, ...names);
    }
    await using members = await EtcdMembers.start(1, "https", [
      ...["--cert-file", at("server.pem"), "--key-file", at("server.key")],
      ...["--client-cert-auth", "--trusted-ca-file", at("ca.pem")],
    ]);
    const url = `etcds://127.0.0.1:${members.port(0)}`;
    const read = (name: string) => readFileSync(at(name));
    await using nobody = open({ url, ca: read("ca.pem") });
    await expect(nobody.get("a")).rejects.toThrow("is away");
    await using known = open({ url, ca: read("ca.pem"), cert: read("client.pem"), key: read("client.key") });
    expect(await known.transact([{ key: "a", absent: true }], [{ key: "a", value: 1 }])).toBe(true);
    rmSync(home, { recursive: true, force: true });
  });
});
