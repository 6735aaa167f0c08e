// The options that decide who reaches whom, with real packets: gateway modes, ICC, source addresses, internal networks.
import { inOwnNamespace, shell, type Netns } from "@portolan/kernel/testing";
import { networkId } from "./testing/calls.ts";
import { fetchFrom, OUTSIDE, RealHost } from "./testing/real-host.ts";

const DUAL = { subnet: "10.40.0.0/24", subnet6: "fd00:40::/64" };
const OTHER = { subnet: "10.41.0.0/24", subnet6: "fd00:41::/64" };
const BRIDGE = `pt-${networkId("net").slice(0, 12)}`;
const WEB = ["10.40.0.2", "fd00:40::2"];

const bridge = (name: string, value: string) => ({ [`com.docker.network.bridge.${name}`]: value });
const modes = (mode: string) => ({ ...bridge("gateway_mode_ipv4", mode), ...bridge("gateway_mode_ipv6", mode) });

/** From the host itself. */
function fetchFromHost(address: string): Promise<string> {
  return shell(`curl -sS -g -m 1 -o /dev/null http://${address.includes(":") ? `[${address}]` : address}:8080/`);
}

inOwnNamespace("the options of a network, on the real kernel", () => {
  let host: RealHost;
  beforeEach(async () => {
    host = await RealHost.boot();
  });
  afterEach(() => host[Symbol.asyncDispose]());

  /** A container on a network of its own that publishes port 8080 and not 8081, and serves both. */
  async function web(options: Readonly<Record<string, string>>): Promise<Netns> {
    await host.createNetwork("net", { ...DUAL, options });
    const container = await host.run("net", "web", "10.40.0.2/24", "fd00:40::2/64");
    await host.join("net", "web", ["18080:8080"]);
    await host.publish("net", "web", ["18080:8080"]);
    await host.serve(container, 8080);
    await host.serve(container, 8081);
    return container;
  }

  /** From the machine outside and from a container on another network, to the container's own addresses. */
  async function reached(): Promise<readonly Record<string, boolean>[]> {
    const outside = await host.outside();
    await host.createNetwork("other", OTHER);
    const stranger = await host.run("other", "cat", "10.41.0.3/24", "fd00:41::3/64");
    const views = [outside, stranger].flatMap((from) =>
      WEB.map(async (address) => ({
        published: (await fetchFrom(from, address, 8080)) !== undefined,
        other: (await fetchFrom(from, address, 8081)) !== undefined,
      })),
    );
    return Promise.all(views);
  }

  it.each([
    ["nat", { published: false, other: false }],
    ["nat-unprotected", { published: true, other: true }],
    ["routed", { published: true, other: false }],
  ])("a container of a network in mode %s is reached at its own address as the mode says", async (mode, expected) => {
    await web(modes(mode));
    expect(await reached()).toEqual([expected, expected, expected, expected]);
  });

  it("a mode holds for its own family only", async () => {
    await web({ ...bridge("gateway_mode_ipv4", "routed"), ...bridge("gateway_mode_ipv6", "nat") });
    const routed = { published: true, other: false };
    const nat = { published: false, other: false };
    expect(await reached()).toEqual([routed, nat, routed, nat]);
  });

  it("a routed network is known to the world by its containers' addresses, and takes no port of the host", async () => {
    const cat = await web(modes("routed"));
    const outside = await host.outside();
    await host.serve(outside);
    await fetchFromHost(OUTSIDE.outside6); // its link-local address may still be tentative, and it must know the neighbour
    expect(await fetchFrom(cat, OUTSIDE.outside)).toBe("10.40.0.2");
    expect(await fetchFrom(cat, OUTSIDE.outside6)).toBe("fd00:40::2");
    for (const address of [OUTSIDE.host, OUTSIDE.host6])
      expect(await fetchFrom(outside, address, 18080)).toBeUndefined();
    expect(host.bridge.status().networks[0]?.endpoints[0]?.ports).toEqual([]);
  });

  it("a routed network's containers don't reach those of a network with NAT", async () => {
    await web({});
    await host.createNetwork("other", { ...OTHER, options: modes("routed") });
    const cat = await host.run("other", "cat", "10.41.0.3/24", "fd00:41::3/64");
    for (const address of WEB) {
      expect(await fetchFrom(cat, address)).toBeUndefined();
    }
  });

  it("ports that are open at the container's own address are closed when it leaves, and open after a restart", async () => {
    await web(modes("routed"));
    const outside = await host.outside();
    await host.kill();
    await shell("nft delete table inet portolan-bridge");
    await host.start();
    for (const address of WEB) expect(await fetchFrom(outside, address)).toBeDefined();
    await host.leave("net", "web");
    for (const address of WEB) expect(await fetchFrom(outside, address)).toBeUndefined();
  });

  it("a trusted link's machines reach published ports at the container's own address, and nothing else", async () => {
    await web(bridge("trusted_host_interfaces", "uplink:lan7"));
    const trusted = { published: true, other: false };
    const others = { published: false, other: false };
    expect(await reached()).toEqual([trusted, trusted, others, others]);
  });

  it("without ICC containers don't reach each other, not even through the gateway, and the host reaches them", async () => {
    const first = await web(bridge("enable_icc", "false"));
    const outside = await host.outside();
    await host.serve(outside);
    const second = await host.run("net", "cat", "10.40.0.3/24", "fd00:40::3/64");
    for (const address of WEB) {
      expect(await fetchFrom(second, address)).toBeUndefined();
      await fetchFromHost(address);
    }
    await second.run("ip route add 10.40.0.2/32 via 10.40.0.1");
    expect(await fetchFrom(second, "10.40.0.2")).toBeUndefined();
    expect(await fetchFrom(first, OUTSIDE.outside)).toBe(OUTSIDE.host);
    // Where br_netfilter shows bridged frames to DNAT, they never leave the bridge.
    for (const value of ["1", "0"]) {
      await host.kernel.sysctls.set("net/bridge/bridge-nf-call-iptables", value);
      expect(await fetchFrom(second, "10.40.0.1", 18080)).toBe(value === "1" ? "10.40.0.3" : "10.40.0.1");
      for (const address of WEB) expect(await fetchFrom(second, address)).toBeUndefined();
    }
  });

  it("without masquerading the world sees containers' own addresses", async () => {
    const cat = await web(bridge("enable_ip_masquerade", "false"));
    await host.serve(await host.outside());
    await fetchFromHost(OUTSIDE.outside6);
    expect(await fetchFrom(cat, OUTSIDE.outside)).toBe("10.40.0.2");
    expect(await fetchFrom(cat, OUTSIDE.outside6)).toBe("fd00:40::2");
  });

  it("the world sees the host addresses that the user has chosen", async () => {
    const cat = await web({
      "com.docker.network.host_ipv4": "192.0.2.77",
      "com.docker.network.host_ipv6": "2001:db8::77",
    });
    const outside = await host.outside();
    await shell("ip address add 192.0.2.77/24 dev uplink");
    await shell("ip address add 2001:db8::77/64 dev uplink nodad");
    await host.serve(outside);
    expect(await fetchFrom(cat, OUTSIDE.outside)).toBe("192.0.2.77");
    expect(await fetchFrom(cat, OUTSIDE.outside6)).toBe("2001:db8::77");
  });

  it("an internal network's containers answer the host at the bridge's address", async () => {
    await host.createNetwork("net", { ...DUAL, internal: true });
    const cat = await host.run("net", "cat", "10.40.0.3/24", "fd00:40::3/64");
    await host.serve(cat);
    for (const address of ["10.40.0.3", "fd00:40::3"]) await fetchFromHost(address);
  });

  it("an isolated network's bridge has no address at all, and its containers reach each other", async () => {
    await host.createNetwork("net", { ...DUAL, internal: true, options: modes("isolated") });
    const one = await host.run("net", "web", "10.40.0.2/24", "fd00:40::2/64");
    const two = await host.run("net", "cat", "10.40.0.3/24", "fd00:40::3/64");
    expect(await host.kernel.addresses.list(BRIDGE)).toEqual([]);
    await host.serve(one);
    for (const address of WEB) expect(await fetchFrom(two, address)).toBeDefined();
  });

  it("a bridge whose IPv4 is inhibited leaves the gateway's address to another machine", async () => {
    // The other machine is a container here, which takes an address that Docker did not give it.
    const options = { ...bridge("inhibit_ipv4", "true"), "portolan.antispoof": "false" };
    await host.createNetwork("net", { ...DUAL, options });
    const cat = await host.run("net", "cat", "10.40.0.3/24", "fd00:40::3/64");
    const router = await host.run("net", "router", "10.40.0.9/24", "fd00:40::9/64");
    await router.run("ip address add 10.40.0.1/24 dev eth0");
    await host.serve(router);
    expect(await fetchFrom(cat, "10.40.0.1")).toBe("10.40.0.3");
    expect((await host.kernel.addresses.list(BRIDGE)).filter((address) => address.startsWith("10."))).toEqual([]);
  });
});
