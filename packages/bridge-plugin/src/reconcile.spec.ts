// After a restart, a reboot, or somebody's clumsy hand: what is mended, what is buried, and what is left alone.
import { bridgeMac } from "./naming.ts";
import { endpointId, networkId } from "./testing/calls.ts";
import { NO_PATIENCE, TestHost } from "./testing/host.ts";

const BRIDGE = `pt-${networkId("net").slice(0, 12)}`;
const PORT = `pv${endpointId("web").slice(0, 12)}`;

let host: TestHost;
beforeEach(async () => {
  host = await TestHost.boot();
  await host.createNetwork("net", { subnet6: "fd00:40::/64" });
  await host.createEndpoint("net", "web", "10.40.0.2/24");
  await host.join("net", "web");
});
afterEach(() => host.bridge[Symbol.asyncDispose]());

const status = () => host.bridge.status();
const endpoints = () => status().networks[0]?.endpoints.map(({ id }) => id);

describe("a restart", () => {
  it("changes nothing that is as it should be, but for the table that is written anew", async () => {
    const before = host.kernel.steps.length;
    await host.restart();
    const steps = host.kernel.steps.slice(before).filter((step) => !step.startsWith("nft add element"));
    expect(steps).toEqual(["nft add table inet portolan-bridge"]);
    await host.bridge.look();
    expect(endpoints()).toEqual([endpointId("web")]);
  });

  it("takes back what was about to be made when the process died", async () => {
    const before = await host.inventory();
    const { put } = recordsOnDisk();
    put("networks", {
      ...read("networks", networkId("net")),
      id: networkId("half"),
      bridge: "pt-half",
      progress: "intent",
    });
    put("endpoints", { ...read("endpoints", endpointId("web")), id: endpointId("half"), progress: "intent" });
    await host.kernel.links.createBridge({ name: "pt-half", mac: bridgeMac(networkId("half")) });
    await host.kernel.links.createVeth({ name: `pv${endpointId("half").slice(0, 12)}`, peer: { name: "p" } });
    await host.restart();
    expect(await host.inventory()).toEqual(before);
    expect(status().networks).toHaveLength(1);
    expect(endpoints()).toEqual([endpointId("web")]);
  });

  it("goes on with a removal that was cut short", async () => {
    recordsOnDisk().put("networks", { ...read("networks", networkId("net")), progress: "removing" });
    await host.restart();
    expect(await host.inventory()).toEqual([]);
    expect(status().networks).toEqual([]);
  });

  it("does not bring back a network that it cannot rebuild, says why, and tries again", async () => {
    await host.kernel.links.remove(BRIDGE);
    host.failing = "create bridge";
    await host.restart();
    expect(status().networks[0]?.trouble).toContain("refused");
    host.failing = undefined;
    await host.bridge.look();
    expect(status().networks[0]?.trouble).toBeUndefined();
    expect(await host.kernel.links.get(BRIDGE)).toMatchObject({ up: true });
  });

  function recordsOnDisk() {
    return {
      put: (collection: string, record: Readonly<Record<string, unknown>>) =>
        host.disk.tables.get(collection)?.set(String(record.id), JSON.stringify(record)),
    };
  }

  function read(collection: string, id: string): Readonly<Record<string, unknown>> {
    return JSON.parse(host.disk.tables.get(collection)?.get(id) ?? "") as Readonly<Record<string, unknown>>;
  }
});

describe("a reboot of the host", () => {
  it("brings the bridges back before any container starts, and buries the containers' endpoints", async () => {
    host.kernel.endSandboxOf(PORT);
    await host.kernel.links.remove(BRIDGE);
    host.kernel.nftables.runFromOutside("flush ruleset");
    await host.restart();
    expect(await host.kernel.addresses.list(BRIDGE)).toEqual(["10.40.0.1/24", "fd00:40::1/64"]);
    expect(await host.inventory()).toContain(`bridges: "${BRIDGE}"`);
    expect(endpoints()).toEqual([endpointId("web")]);
    await host.bridge.look();
    expect(endpoints()).toEqual([]);
    await host.createEndpoint("net", "web2", "10.40.0.2/24");
  });

  it("does not turn on forwarding before dockerd, which would then leave FORWARD open", async () => {
    await host.kernel.sysctls.set("net/ipv4/ip_forward", "0");
    await host.restart();
    expect(await host.kernel.sysctls.get("net/ipv4/ip_forward")).toBe("0");
    await host.createEndpoint("net", "web2", "10.40.0.3/24");
    expect(await host.kernel.sysctls.get("net/ipv4/ip_forward")).toBe("1");
  });
});

describe("a look", () => {
  it("buries an endpoint whose link has gone, at the second look and not at the first", async () => {
    host.kernel.endSandboxOf(PORT);
    await host.bridge.look();
    expect(endpoints()).toEqual([endpointId("web")]);
    await host.bridge.look();
    expect(endpoints()).toEqual([]);
  });

  it("is patient with an endpoint that no container has yet", async () => {
    await host.restart({ ...NO_PATIENCE, homeMs: 60_000 });
    await host.createEndpoint("net", "slow", "10.40.0.3/24");
    await host.bridge.look();
    await host.bridge.look();
    expect(endpoints()).toContain(endpointId("slow"));
  });

  it("removes the link of an endpoint that dockerd moved back while we were away", async () => {
    await host.createEndpoint("net", "left", "10.40.0.3/24");
    await host.bridge.look();
    await host.bridge.look();
    expect(endpoints()).toEqual([endpointId("web")]);
    expect(await host.kernel.links.get(`pv${endpointId("left").slice(0, 12)}`)).toBeUndefined();
    expect(host.bridge.status().strays).toEqual([]);
  });

  it("rebuilds a bridge that somebody removed, and puts the containers' links back on it", async () => {
    await host.kernel.links.remove(BRIDGE);
    await host.bridge.look();
    const bridge = await host.kernel.links.get(BRIDGE);
    expect(bridge).toMatchObject({ up: true });
    expect(await host.kernel.links.get(PORT)).toMatchObject({ master: bridge?.index });
  });
});
