// Real packets to published ports: from this host, from another one, from containers everywhere, and from where they must not.
import { setTimeout as sleep } from "node:timers/promises";
import { inOwnNamespace, shell, type Netns } from "@portolan/kernel/testing";
import { endpointId } from "./testing/calls.ts";
import { OUTSIDE, RealHost } from "./testing/real-host.ts";
import { ask, holdPort, serveOnLoopback, serveUdp, thisHost } from "./testing/traffic.ts";

const DUAL = { subnet: "10.40.0.0/24", subnet6: "fd00:40::/64" };
const OTHER = { subnet: "10.41.0.0/24", subnet6: "fd00:41::/64" };
const WEB = ["10.40.0.2/24", "fd00:40::2/64"];

inOwnNamespace("published ports", () => {
  let host: RealHost;
  beforeEach(async () => {
    host = await RealHost.boot();
  });
  afterEach(() => host[Symbol.asyncDispose]());

  const ports = () => host.bridge.status().networks.flatMap(({ endpoints }) => endpoints.flatMap((each) => each.ports));

  /** A web server at `web` on a dual-stack network, and a machine one cable away. */
  async function webAndOutside(publish: readonly string[]): Promise<{ web: Netns; outside: Netns }> {
    const outside = await host.outside();
    await host.createNetwork("net", DUAL);
    const web = await host.run("net", "web", ...WEB);
    await host.serve(web);
    await host.publish("net", "web", publish);
    return { web, outside };
  }

  describe.each([
    ["alone", "0"],
    ["with bridged frames passing netfilter", "1"],
  ])("on a host %s", (_, bridged) => {
    beforeEach(async () => {
      for (const program of ["iptables", "ip6tables"])
        await host.kernel.sysctls.set(`net/bridge/bridge-nf-call-${program}`, bridged);
    });

    it("are reached from another host by both families, and the container sees that host's address", async () => {
      const { outside } = await webAndOutside(["80:8080"]);
      expect(await ask(outside, OUTSIDE.host, 80)).toBe(OUTSIDE.outside);
      expect(await ask(outside, OUTSIDE.host6, 80)).toBe(OUTSIDE.outside6);
    });

    it("are reached from this host at every address of it", async () => {
      await webAndOutside(["80:8080"]);
      expect(await ask(thisHost, "127.0.0.1", 80)).toBe("10.40.0.1");
      expect(await ask(thisHost, "127.3.2.1", 80)).toBe("10.40.0.1");
      expect(await ask(thisHost, OUTSIDE.host, 80)).toBe(OUTSIDE.host);
      expect(await ask(thisHost, "10.40.0.1", 80)).toBe("10.40.0.1");
      expect(await ask(thisHost, OUTSIDE.host6, 80)).toBe(OUTSIDE.host6);
      expect(await ask(thisHost, "::1", 80)).toBe("fd00:40::1");
    });

    it("are reached by the container itself, by its neighbours and by containers of other networks", async () => {
      const { web } = await webAndOutside(["80:8080"]);
      const cat = await host.run("net", "cat", "10.40.0.3/24", "fd00:40::3/64");
      await host.createNetwork("other", OTHER);
      const stranger = await host.run("other", "stranger", "10.41.0.3/24", "fd00:41::3/64");
      for (const address of [OUTSIDE.host, "10.40.0.1", OUTSIDE.host6, "fd00:40::1"]) {
        expect(await ask(web, address, 80)).toBeDefined();
        expect(await ask(cat, address, 80)).toBeDefined();
      }
      expect(await ask(stranger, OUTSIDE.host, 80)).toBe("10.41.0.3");
      expect(await ask(stranger, "10.41.0.1", 80)).toBe("10.41.0.3");
      expect(await ask(stranger, OUTSIDE.host6, 80)).toBe("fd00:41::3");
      // What is not published stays out of reach.
      expect(await ask(stranger, "10.40.0.2", 8080)).toBeUndefined();
    });
  });

  it("are reached by IPv6 in a container that has none, except where another endpoint is the gateway for it", async () => {
    const outside = await host.outside();
    await host.createNetwork("net");
    await host.serve(await host.run("net", "web", "10.40.0.2/24"));
    await host.publish("net", "web", ["80:8080"]);
    expect(await ask(outside, OUTSIDE.host6, 80)).toBe("10.40.0.1");
    expect(await ask(thisHost, "::1", 80)).toBe("10.40.0.1");
    await host.publish("net", "web", ["80:8080"], true);
    expect(await ask(outside, OUTSIDE.host6, 80)).toBeUndefined();
    expect(await ask(outside, OUTSIDE.host, 80)).toBe(OUTSIDE.outside);
  });

  it("on loopback are for this host alone", async () => {
    const { web, outside } = await webAndOutside(["127.0.0.1:80:8080", "127.0.0.2:81:8080", "[::1]:80:8080"]);
    expect(await ask(thisHost, "127.0.0.1", 80)).toBe("10.40.0.1");
    expect(await ask(thisHost, "127.0.0.2", 81)).toBe("10.40.0.1");
    expect(await ask(thisHost, "::1", 80)).toBe("fd00:40::1");
    expect(await ask(thisHost, "127.0.0.2", 80)).toBeUndefined();
    expect(await ask(thisHost, OUTSIDE.host, 80)).toBeUndefined();
    expect(await ask(outside, OUTSIDE.host, 80)).toBeUndefined();
    await using _service = await serveOnLoopback(9999);
    expect(await ask(thisHost, "127.0.0.1", 9999)).toBe("127.0.0.1");
    // As an attacker on the same wire would: a route to the other host's loopback, for the container too.
    for (const [from, via] of [
      [outside, OUTSIDE.host],
      [web, "10.40.0.1"],
    ] as const) {
      await from.run("ip route del local 127.0.0.0/8 table local");
      await from.run("ip address del 127.0.0.1/8 dev lo");
      await from.run("sysctl -q -w net.ipv4.conf.eth0.route_localnet=1");
      await from.run(`ip route add 127.0.0.0/24 via ${via}`);
      expect(await ask(from, "127.0.0.1", 80)).toBeUndefined();
      expect(await ask(from, "127.0.0.2", 81)).toBeUndefined();
      expect(await ask(from, "127.0.0.1", 9999)).toBeUndefined();
    }
  });

  it("on one address of the host answer there and nowhere else, to two containers on two", async () => {
    await host.outside();
    await host.createNetwork("net", DUAL);
    const [web, cat] = [
      await host.run("net", "web", ...WEB),
      await host.run("net", "cat", "10.40.0.3/24", "fd00:40::3/64"),
    ];
    for (const each of [web, cat]) await host.serve(each);
    await host.publish("net", "web", [`${OUTSIDE.host}:80:8080`, `[${OUTSIDE.host6}]:80:8080`]);
    await host.publish("net", "cat", ["10.40.0.1:80:8080"]);
    expect(await ask(thisHost, OUTSIDE.host, 80)).toBe(OUTSIDE.host);
    expect(await ask(thisHost, OUTSIDE.host6, 80)).toBe(OUTSIDE.host6);
    expect(await ask(thisHost, "10.40.0.1", 80)).toBe("10.40.0.1");
    expect(await ask(thisHost, "127.0.0.1", 80)).toBeUndefined();
  });

  it("of UDP answer from the address that was asked, and at once when the container changes", async () => {
    const outside = await host.outside();
    await host.createNetwork("net", DUAL);
    const web = await host.run("net", "web", ...WEB);
    await using _one = await serveUdp(web, 53, "web");
    await host.publish("net", "web", ["53:53/udp"]);
    const client = { from: outside, sourcePort: 4000 };
    expect(await ask(client, OUTSIDE.host, 53, "udp")).toBe(`web to ${OUTSIDE.outside}`);
    expect(await ask(client, OUTSIDE.host6, 53, "udp")).toBe(`web to ${OUTSIDE.outside6}`);
    expect(await ask(thisHost, "::1", 53, "udp")).toBe("web to fd00:40::1");

    const cat = await host.run("net", "cat", "10.40.0.3/24", "fd00:40::3/64");
    await using _two = await serveUdp(cat, 53, "cat");
    await host.unpublish("net", "web");
    expect(await ask(client, OUTSIDE.host, 53, "udp")).toBeUndefined();
    await host.publish("net", "cat", ["53:53/udp"]);
    expect(await ask(client, OUTSIDE.host, 53, "udp")).toBe(`cat to ${OUTSIDE.outside}`);
  });

  it("stop answering with Revoke, Leave or DeleteEndpoint, whichever comes", async () => {
    const { outside } = await webAndOutside(["80:8080"]);
    for (const end of ["unpublish", "leave"] as const) {
      await host[end]("net", "web");
      expect(await ask(outside, OUTSIDE.host, 80)).toBeUndefined();
      expect(ports()).toEqual([]);
      await host.publish("net", "web", ["80:8080"]);
      expect(await ask(outside, OUTSIDE.host, 80)).toBe(OUTSIDE.outside);
    }
    await host.deleteEndpoint("net", "web");
    await using _free = await holdPort(80);
  });

  it("are refused when another program has one of them, and none is half published", async () => {
    await using _program = await holdPort(81);
    const outside = await host.outside();
    await host.createNetwork("net", DUAL);
    await host.serve(await host.run("net", "web", ...WEB));
    await expect(host.publish("net", "web", ["80:8080", "81:8080"])).rejects.toThrow(
      "failed to bind host port 0.0.0.0:81/tcp: address already in use",
    );
    expect(ports()).toEqual([]);
    expect(await ask(outside, OUTSIDE.host, 80)).toBeUndefined();
    await using _free = await holdPort(80);
  });

  it("go on while the driver is away, and nobody else has them when it is back", async () => {
    const { outside } = await webAndOutside(["80:8080"]);
    await host.kill();
    expect(await ask(outside, OUTSIDE.host, 80)).toBe(OUTSIDE.outside);
    await host.start();
    expect(await ask(outside, OUTSIDE.host, 80)).toBe(OUTSIDE.outside);
    expect(await ask(thisHost, "::1", 80)).toBe("fd00:40::1");
    await expect(holdPort(80)).rejects.toThrow("EADDRINUSE");
    await host.unpublish("net", "web");
    expect(await ask(outside, OUTSIDE.host, 80)).toBeUndefined();
  });

  it("that another program took meanwhile are reported, go on, and are held again when it ends", async () => {
    const { outside } = await webAndOutside(["80:8080"]);
    await host.kill();
    {
      await using _thief = await holdPort(80);
      await host.start();
      expect(ports()).toMatchObject([{ hostPort: 80, trouble: expect.stringContaining("EADDRINUSE") as string }]);
      expect(await ask(outside, OUTSIDE.host, 80)).toBe(OUTSIDE.outside);
    }
    await host.bridge.look();
    expect(ports()).toMatchObject([{ hostPort: 80, trouble: undefined }]);
    await expect(holdPort(80)).rejects.toThrow("EADDRINUSE");
  });

  it("of a container that died while the driver was away are free at once", async () => {
    const { web } = await webAndOutside(["80:8080"]);
    await host.kill();
    await web.run("ip link del eth0");
    await host.start();
    await host.serve(await host.run("net", "next", "10.40.0.4/24"));
    await host.publish("net", "next", ["80:8080"]);
    expect(await ask(thisHost, OUTSIDE.host, 80)).toBe(OUTSIDE.host);
    expect(ports()).toMatchObject([{ hostPort: 80 }]);
  });

  it("are back within two seconds after somebody flushed the ruleset", async () => {
    const { outside } = await webAndOutside(["80:8080"]);
    await shell("nft flush ruleset");
    await sleep(2000);
    expect(await ask(outside, OUTSIDE.host, 80)).toBe(OUTSIDE.outside);
    expect(await ask(outside, OUTSIDE.host6, 80)).toBe(OUTSIDE.outside6);
  });

  it("that are published twice, or taken back twice, are published and taken back", async () => {
    const { outside } = await webAndOutside(["80:8080", "8080"]);
    const before = ports();
    await host.publish("net", "web", ["80:8080", "8080"]);
    expect(ports()).toEqual(before);
    expect(await ask(outside, OUTSIDE.host, 80)).toBe(OUTSIDE.outside);
    for (const _time of [1, 2]) await host.unpublish("net", "web");
    await host.unpublish("net", "nobody");
    expect(host.bridge.status().networks[0]?.endpoints.map(({ id }) => id)).toEqual([endpointId("web")]);
  });
});
