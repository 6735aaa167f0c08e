// A network on the LAN by its uplink, on the real kernel: containers and machines of the LAN see each other's own addresses.
import { inOwnNamespace, shell, type Netns } from "@portolan/kernel/testing";
import { fetchFrom, RealHost } from "./testing/real-host.ts";

const DUAL = { subnet: "10.40.0.0/24", subnet6: "fd00:40::/64" };

inOwnNamespace("an uplink", () => {
  let host: RealHost;
  let station: Netns;

  beforeEach(async () => {
    host = await RealHost.boot();
    station = await host.namespace();
    await plugIn();
  });
  afterEach(pullOut);

  /** The wire would go with the station, some time later. */
  async function pullOut(): Promise<void> {
    await station.run("ip link delete eth0");
    await host[Symbol.asyncDispose]();
  }

  async function plugIn(): Promise<void> {
    await shell(`ip link add lan0 type veth peer name eth0 netns ${station.name}`);
    await station.run("ip address add 10.40.0.200/24 dev eth0");
    await station.run("ip address add fd00:40::200/64 dev eth0 nodad");
    await station.run("ip link set eth0 up");
  }

  it.each(["0", "1"])("joins containers and LAN, with bridge-nf-call-iptables=%s", async (value) => {
    for (const path of ["net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables"])
      if ((await host.kernel.sysctls.get(path)) !== undefined) await host.kernel.sysctls.set(path, value);
    await host.createNetwork("net", { ...DUAL, options: { "portolan.uplink": "lan0" } });
    const web = await host.run("net", "web", "10.40.0.2/24", "fd00:40::2/64");
    for (const one of [web, station]) await host.serve(one);
    expect(await fetchFrom(station, "10.40.0.2")).toBe("10.40.0.200");
    expect(await fetchFrom(station, "fd00:40::2")).toBe("fd00:40::200");
    expect(await fetchFrom(web, "10.40.0.200")).toBe("10.40.0.2");
    expect(await fetchFrom(web, "fd00:40::200")).toBe("fd00:40::2");
    // What a container may send is the same as without; what the LAN sends is its own business.
    await web.run("ip address add 10.40.0.9/24 dev eth0");
    await web.run("ip route replace 10.40.0.200/32 dev eth0 src 10.40.0.9");
    expect(await fetchFrom(web, "10.40.0.200")).toBeUndefined();
    await host.publish("net", "web", ["18080:8080"]);
    expect(await fetchFrom(station, "10.40.0.1", 18080)).toBeDefined();
  });

  it("comes back as soon as it is plugged in again, and is left as it was found", async () => {
    await host.createNetwork("net", { subnet: "10.40.0.0/24", options: { "portolan.uplink": "lan0" } });
    await host.run("net", "web", "10.40.0.2/24").then((web) => host.serve(web));
    await shell("ip link delete lan0");
    await plugIn();
    const deadline = performance.now() + 10_000;
    let answer: string | undefined;
    while (answer === undefined && performance.now() < deadline) answer = await fetchFrom(station, "10.40.0.2");
    expect(answer).toBe("10.40.0.200");
    await host.deleteEndpoint("net", "web");
    await host.deleteNetwork("net");
    const link = await host.kernel.links.get("lan0");
    expect(link).toMatchObject({ up: false });
    expect(link?.master).toBeUndefined();
  });

  it("serves containers on further bridges as well", async () => {
    await pullOut();
    host = await RealHost.boot({ main: 1, further: 1, bridges: 1 });
    station = await host.namespace();
    await plugIn();
    await host.createNetwork("far", { subnet: "10.40.0.0/24", options: { "portolan.uplink": "lan0" } });
    await host.run("far", "one", "10.40.0.2/24");
    const two = await host.run("far", "two", "10.40.0.3/24");
    await host.serve(two);
    expect(await fetchFrom(station, "10.40.0.3")).toBe("10.40.0.200");
  });
});
