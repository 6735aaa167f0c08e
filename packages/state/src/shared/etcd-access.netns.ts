// etcd that wants to know who asks: names and passwords, tokens that expire, certificates.
import { execFileSync } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { Certificates } from "../testing/certificates.ts";
import { EtcdMembers } from "../testing/etcd-members.ts";
import { eventually } from "../testing/shared-contract.ts";
import { EtcdStore, type EtcdSettings } from "./etcd-store.ts";

beforeAll(() => {
  execFileSync("ip", ["link", "set", "lo", "up"]);
});

const open = (settings: Omit<EtcdSettings, "root">) => new EtcdStore({ ...settings, root: "/test/" });

/** As an operator does. */
async function ask(members: EtcdMembers, what: string, body: object): Promise<void> {
  const url = `http://127.0.0.1:${members.port(0)}/v3/${what}`;
  const answer = await fetch(url, { method: "POST", body: JSON.stringify(body) });
  expect(answer.status).toBe(200);
}

describe("a store in etcd that wants to know who asks", () => {
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
    await using _watch = known.watch("", {
      again: () => seen.push("again"),
      changed: ({ key }) => seen.push(key),
    });
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
      const { revision } = (await known.get("a"))!;
      await known.transact([{ key: "a", revision }], [{ key: "a", value: Date.now() }]);
      return seen.includes("a");
    });
  }, 60_000);

  it("is given certificates", async () => {
    using certificates = new Certificates();
    await using members = await EtcdMembers.start(1, "https", certificates.etcdFlags);
    const url = `etcds://127.0.0.1:${members.port(0)}`;
    const read = (name: string) => certificates.read(name);
    await using nobody = open({ url, ca: read("ca.pem") });
    await expect(nobody.get("a")).rejects.toThrow("is away");
    await using known = open({ url, ca: read("ca.pem"), cert: read("client.pem"), key: read("client.key") });
    expect(await known.transact([{ key: "a", absent: true }], [{ key: "a", value: 1 }])).toBe(true);
  });
});
