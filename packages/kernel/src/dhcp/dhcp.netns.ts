// Leases from dnsmasq: got before the container exists, kept in its sandbox, moved, lost and given back.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { output } from "../testing/command.ts";
import { makeNetns, type Netns } from "../testing/netns.ts";
import { inOwnNamespace } from "../testing/own-namespace.ts";
import type { Dhcp, DhcpKeeper, DhcpNews } from "./dhcp.ts";
import { openDhcp } from "./udhcpc.ts";

const MAC = "02:42:0a:4d:00:09";

inOwnNamespace("DHCP", () => {
  let folder: string;
  let lan: Netns;
  let sandbox: Netns;
  let server: ChildProcess | undefined;
  let dhcp: Dhcp;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "dhcp-"));
    lan = await makeNetns();
    sandbox = await makeNetns();
    await output(`ip link add up0 type veth peer name lan0 netns ${lan.name}`);
    await output("ip link set up0 up");
    await lan.run("ip link set lan0 up");
    await lan.run("ip address add 10.77.0.1/24 dev lan0");
    await output(`ip link add m0 link up0 address ${MAC} type macvlan mode bridge`);
    await output("ip link set m0 up");
    dhcp = await openDhcp(folder);
  });

  afterEach(async () => {
    await stopServer();
    await output("ip link del up0");
    await sandbox[Symbol.asyncDispose]();
    await lan[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  async function startServer(range: string, ...options: readonly string[]): Promise<void> {
    const dnsmasq = [
      "dnsmasq",
      "--conf-file=/dev/null",
      "--no-daemon",
      "--port=0",
      "--no-ping",
      "--dhcp-authoritative",
    ];
    const where = ["--interface=lan0", `--dhcp-range=${range},2m`, `--dhcp-leasefile=${folder}/leases`];
    server = spawn("ip", ["netns", "exec", lan.name, ...dnsmasq, ...where, ...options], { stdio: "ignore" });
    await until(async () => (await lan.run("ss -Hlun sport = :67")).includes(":67"));
  }

  async function stopServer(): Promise<void> {
    if (!server) return;
    server.kill();
    if (server.exitCode === null) await once(server, "exit");
    server = undefined;
  }

  /** `seconds MAC address name client-id` of each lease. */
  const leases = () => readFile(join(folder, "leases"), "utf8");

  /** What dockerd does: the link moves, is renamed, and gets the address and the default route. */
  async function moveToSandbox(address: string): Promise<void> {
    await output(`ip link set m0 netns ${sandbox.name}`);
    await sandbox.run("ip link set m0 name eth0");
    await sandbox.run("ip link set eth0 up");
    await sandbox.run(`ip address add ${address} dev eth0`);
    await sandbox.run("ip route add default via 10.77.0.1");
  }

  function follow(address: string): { readonly keeper: DhcpKeeper; readonly news: readonly DhcpNews[] } {
    const news: DhcpNews[] = [];
    const place = { sandbox: sandbox.path, mac: MAC };
    const lease = { address, gateway: "10.77.0.1", routes: [] };
    const keeper = dhcp.keep(place, lease, {}, (item) => {
      news.push(item);
    });
    return { keeper, news };
  }

  it("gets a lease for a link and leaves the link's addresses as they are", async () => {
    await startServer("10.77.0.50,10.77.0.50");
    await expect(dhcp.acquire("m0", {})).resolves.toEqual({
      address: "10.77.0.50/24",
      gateway: "10.77.0.1",
      routes: [],
      server: "10.77.0.1",
      seconds: 120,
    });
    expect(await output("ip -4 address show dev m0")).toBe("");
  });

  it("tells the server a name and a client identifier, and asks for an address", async () => {
    await startServer("10.77.0.50,10.77.0.90");
    const lease = await dhcp.acquire("m0", { hostname: "web", clientId: "00616263", address: "10.77.0.77" });
    expect(lease.address).toBe("10.77.0.77/24");
    expect(await leases()).toContain(`${MAC} 10.77.0.77 web 00:61:62:63`);
  });

  it("prefers classless routes to the router, as RFC 3442 has it", async () => {
    const routes = "10.9.0.0/16,10.77.0.9,0.0.0.0/0,10.77.0.2";
    await startServer("10.77.0.50,10.77.0.50", `--dhcp-option=option:classless-static-route,${routes}`);
    await expect(dhcp.acquire("m0", {})).resolves.toMatchObject({
      gateway: "10.77.0.2",
      routes: [{ destination: "10.9.0.0/16", via: "10.77.0.9" }],
    });
  });

  it("says that no server answers", async () => {
    await expect(dhcp.acquire("m0", {})).rejects.toThrow(/get a DHCP lease for m0: ETIMEDOUT: no DHCP server answered/);
  });

  it("keeps the lease in the sandbox, and gives it back", async () => {
    await startServer("10.77.0.50,10.77.0.60");
    const { address } = await dhcp.acquire("m0", {});
    await moveToSandbox(address);
    const { keeper, news } = follow(address);
    await until(() => news.length === 1);
    keeper.renew();
    await until(() => news.length === 2);
    expect(news).toMatchObject([
      { kind: "lease", lease: { address } },
      { kind: "lease", lease: { address } },
    ]);
    expect(await leases()).toContain(MAC);
    await keeper.release();
    await until(async () => !(await leases()).includes(MAC));
    expect(await sandbox.run("ip -4 address show dev eth0")).toContain(address);
  });

  it("moves the container's address and default route when the server gives another one", async () => {
    await startServer("10.77.0.50,10.77.0.50");
    const { address } = await dhcp.acquire("m0", {});
    await moveToSandbox(address);
    const { keeper, news } = follow(address);
    await until(() => news.length === 1);
    await stopServer();
    await rm(join(folder, "leases"));
    await startServer("10.77.0.70,10.77.0.70");
    keeper.renew();
    await until(() => news.some((item) => item.kind === "lease" && item.lease.address === "10.77.0.70/24"));
    expect(news.map(({ kind }) => kind)).toContain("lost");
    await until(async () => (await sandbox.run("ip -4 route show default")).includes("via 10.77.0.1 dev eth0"));
    expect(await sandbox.run("ip -4 -o address show dev eth0")).toMatch(/^[^\n]*10\.77\.0\.70\/24[^\n]*\n$/);
    await keeper.stop();
  });

  it("takes the address off when the server refuses it and has no other", async () => {
    await startServer("10.77.0.50,10.77.0.50");
    const { address } = await dhcp.acquire("m0", {});
    await moveToSandbox(address);
    const { keeper, news } = follow(address);
    await until(() => news.length === 1);
    await stopServer();
    await rm(join(folder, "leases"));
    await startServer("10.77.0.70,10.77.0.70", "--dhcp-host=02:00:00:00:00:01,10.77.0.70", `--dhcp-host=id:*,ignore`);
    keeper.renew();
    await until(() => news.some(({ kind }) => kind === "lost"));
    await until(async () => (await sandbox.run("ip -4 address show dev eth0")) === "");
    await keeper.stop();
  });

  it("leaves the lease as it is when it is told to stop, and nobody behind", async () => {
    await startServer("10.77.0.50,10.77.0.60");
    const { address } = await dhcp.acquire("m0", {});
    await moveToSandbox(address);
    const { keeper, news } = follow(address);
    await until(() => news.length === 1);
    await keeper.stop();
    expect(await leases()).toContain(MAC);
    expect(await output(`ip netns pids ${sandbox.name}`)).toBe("");
    expect(news).toHaveLength(1);
  });

  it("says that its client has ended", async () => {
    await startServer("10.77.0.50,10.77.0.60");
    const { address } = await dhcp.acquire("m0", {});
    await moveToSandbox(address);
    const { news } = follow(address);
    await until(() => news.length === 1);
    const pids = (await output(`ip netns pids ${sandbox.name}`)).split("\n").filter((pid) => pid !== "");
    const names = await Promise.all(pids.map(async (pid) => [pid, await output(`cat /proc/${pid}/comm`)] as const));
    const [client] = names.find(([, name]) => /udhcpc|busybox/.test(name)) ?? [];
    process.kill(Number(client), "SIGKILL");
    await until(() => news.length === 2);
    expect(news[1]).toMatchObject({ kind: "ended" });
    expect(await output(`ip netns pids ${sandbox.name}`)).toBe("");
  });

  it("does not outlive the process that started it", async () => {
    await startServer("10.77.0.50,10.77.0.60");
    const { address } = await dhcp.acquire("m0", {});
    await moveToSandbox(address);
    const program = `
      import { openDhcp } from "@portolan/kernel";
      const dhcp = await openDhcp(${JSON.stringify(folder)});
      const place = { sandbox: ${JSON.stringify(sandbox.path)}, mac: "${MAC}" };
      dhcp.keep(place, { address: "${address}", routes: [] }, {}, () => console.log("kept"));
      setInterval(() => undefined, 1000);`;
    const node = ["--conditions=source", "--input-type=module", "-e", program];
    const plugin = spawn(process.execPath, node, { stdio: ["ignore", "pipe", "inherit"], cwd: import.meta.dirname });
    await once(plugin.stdout, "data");
    expect(await output(`ip netns pids ${sandbox.name}`)).not.toBe("");
    plugin.kill("SIGKILL");
    await until(async () => (await output(`ip netns pids ${sandbox.name}`)) === "");
  });

  it("says that the link has gone", async () => {
    const { news } = follow("10.77.0.50/24");
    await until(() => news.length > 0);
    expect(news).toEqual([{ kind: "ended", reason: "the link has gone from its sandbox" }]);
  });

  it("says that the sandbox has gone", async () => {
    const news: DhcpNews[] = [];
    const lease = { address: "10.77.0.50/24", routes: [] };
    dhcp.keep({ sandbox: "/run/netns/none", mac: MAC }, lease, {}, (item) => {
      news.push(item);
    });
    await until(() => news.length > 0);
    expect(news).toEqual([{ kind: "ended", reason: expect.stringContaining("/run/netns/none") as string }]);
  });
});

async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + 15_000;
  while (Date.now() < end) {
    if (await isSo()) return;
    await sleep(50);
  }
  throw new Error(`waited for 15 s: ${isSo.toString()}`);
}
