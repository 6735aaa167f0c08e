// A network on a bridge of the host's, with real packets between its containers and what else is plugged in there.
import { inOwnNamespace, shell, type Netns } from "@portolan/kernel/testing";
import { fetchFrom, RealHost } from "./testing/real-host.ts";

const lan = { "com.docker.network.bridge.name": "br-lan" };

inOwnNamespace("a network on a bridge of the host's", () => {
  let host: RealHost;
  let station: Netns;

  beforeEach(async () => {
    host = await RealHost.boot();
    await shell("ip link add br-lan type bridge forward_delay 0");
    await shell("ip address add 10.40.0.1/24 dev br-lan");
    await shell("ip -6 address add fd00:40::1/64 dev br-lan nodad");
    station = await host.namespace();
    await shell(`ip link add lan0 master br-lan type veth peer name eth0 netns ${station.name}`);
    for (const link of ["br-lan", "lan0"]) await shell(`ip link set ${link} up`);
    await station.run("ip address add 10.40.0.200/24 dev eth0");
    await station.run("ip address add fd00:40::200/64 dev eth0 nodad");
    await station.run("ip link set eth0 up");
  });
  afterEach(async () => {
    await host[Symbol.asyncDispose]();
    await shell("ip link delete br-lan");
  });

  it("has its containers beside the stations of that bridge, and leaves both when it goes", async () => {
    await host.createNetwork("net", { subnet: "10.40.0.0/24", subnet6: "fd00:40::/64", options: lan });
    const web = await host.run("net", "web", "10.40.0.2/24", "fd00:40::2/64");
    await host.serve(web);
    await host.serve(station);
    for (const [address, from] of [
      ["10.40.0.2", "10.40.0.200"],
      ["fd00:40::2", "fd00:40::200"],
    ] as const) {
      expect(await fetchFrom(station, address)).toBe(from);
    }
    for (const [address, from] of [
      ["10.40.0.200", "10.40.0.2"],
      ["fd00:40::200", "fd00:40::2"],
    ] as const) {
      expect(await fetchFrom(web, address)).toBe(from);
    }
    await host.deleteEndpoint("net", "web");
    await host.deleteNetwork("net");
    expect(await host.kernel.links.list({ master: "br-lan" })).toMatchObject([{ name: "lan0" }]);
    const addresses = (await host.kernel.addresses.list("br-lan")).filter((address) => !address.startsWith("fe80:"));
    expect(addresses).toEqual(["10.40.0.1/24", "fd00:40::1/64"]);
    expect(await host.kernel.sysctls.get("net/ipv4/conf/br-lan/route_localnet")).toBe("0");
  });

  it("publishes ports to the stations of that bridge", async () => {
    await host.createNetwork("net", { subnet: "10.40.0.0/24", options: lan });
    const web = await host.run("net", "web", "10.40.0.2/24");
    await host.serve(web);
    await host.publish("net", "web", ["18080:8080"]);
    expect(await fetchFrom(station, "10.40.0.1", 18080)).toBeDefined();
  });

  it("may have IPv6 alone, and leaves the host's IPv4 there as it is", async () => {
    await host.createNetwork("net", { onlyIPv6: true, subnet6: "fd00:40::/64", options: lan });
    await host.run("net", "web", "fd00:40::2/64").then((web) => host.serve(web));
    expect(await fetchFrom(station, "fd00:40::2")).toBe("fd00:40::200");
    expect(await host.kernel.addresses.list("br-lan")).toContain("10.40.0.1/24");
  });

  it("serves its containers again when the bridge was taken down and made anew", async () => {
    await host.createNetwork("net", { subnet: "10.40.0.0/24", options: lan });
    const web = await host.run("net", "web", "10.40.0.2/24");
    await host.serve(web);
    await shell("ip link delete br-lan");
    await shell("ip link add br-lan type bridge forward_delay 0");
    await shell("ip link set lan0 master br-lan up");
    await host.bridge.look();
    expect(await fetchFrom(station, "10.40.0.2")).toBe("10.40.0.200");
    expect(await host.kernel.addresses.list("br-lan")).toContain("10.40.0.1/24");
  });

  it("keeps its containers apart without ICC, and lets the host at them", async () => {
    const options = { ...lan, "com.docker.network.bridge.enable_icc": "false" };
    await host.createNetwork("net", { subnet: "10.40.0.0/24", options });
    const web = await host.run("net", "web", "10.40.0.2/24");
    const cat = await host.run("net", "cat", "10.40.0.3/24");
    await host.serve(web);
    expect(await fetchFrom(cat, "10.40.0.2")).toBeUndefined();
    await shell("curl -sS -m 1 -o /dev/null http://10.40.0.2:8080/");
  });
});
