// What the doctor finds on a host, and what it says of it.
import { examine, PluginError } from "@portolan/sdk";
import { checks } from "./doctor.ts";
import { networkId } from "./testing/calls.ts";
import { TestHost } from "./testing/host.ts";

const BRIDGE = `pt-${networkId("net").slice(0, 12)}`;

let host: TestHost;
beforeEach(async () => {
  host = await TestHost.boot();
  await host.createNetwork("net");
});
afterEach(() => host.bridge[Symbol.asyncDispose]());

/** As in `forwarding: problem: sysctl …`. */
async function found(status = host.bridge.status() as Parameters<typeof checks>[1]): Promise<readonly string[]> {
  const { findings } = await examine(checks(host.kernel, status));
  return findings.map(({ check, level, mend }) => `${check}: ${level}: ${mend}`);
}

it("nothing on a host where all is well", async () => {
  expect(await found()).toEqual([]);
});

it("forwarding that somebody turned off", async () => {
  await host.kernel.sysctls.set("net/ipv4/ip_forward", "0");
  expect(await found()).toEqual(["forwarding: problem: sysctl -w net.ipv4.ip_forward=1"]);
});

it("br_netfilter beside a network without ICC, where the kernel has no nftables for bridges", async () => {
  const options = { "com.docker.network.bridge.enable_icc": "false" };
  await host.createNetwork("apart", { subnet: "10.41.0.0/24", options });
  expect(await found()).toEqual([]);
  const status = host.bridge.status();
  const without = { ...status, firewall: { ...status.firewall, withoutAntispoof: "not supported" } };
  const lacking = "kernel features: problem: modprobe nf_tables_bridge && systemctl restart ts-bridge";
  const note = "br_netfilter: note: sysctl -w net.bridge.bridge-nf-call-iptables=0";
  expect(await found(without)).toEqual([note, lacking]);
  await host.kernel.sysctls.set("net/bridge/bridge-nf-call-iptables", "0");
  expect(await found(without)).toEqual([lacking]);
});

it("another firewall that drops what it does not know, and how to let our bridges through it", async () => {
  const type = "type filter hook forward priority 10; policy drop;";
  host.kernel.nftables.runFromOutside(`table inet ufw {\n chain forward {\n ${type}\n }\n }`);
  expect(await found()).toEqual([
    `other firewalls: note: nft insert rule inet ufw forward iifname '"pt-*"' accept && ` +
      `nft insert rule inet ufw forward oifname '"pt-*"' accept`,
  ]);
});

it("firewalld that does not know our bridges, which is told by its own command", async () => {
  const type = "type filter hook forward priority 10; policy drop;";
  host.kernel.nftables.runFromOutside(`table inet firewalld {\n chain filter_FORWARD {\n ${type}\n }\n }`);
  expect(await found()).toEqual([
    "other firewalls: problem: firewall-cmd --permanent --zone=trusted --add-interface=pt-+ && firewall-cmd --reload",
  ]);
});

it("an iptables that drops all while nobody keeps its rules", async () => {
  await host.bridge[Symbol.asyncDispose]();
  const type = "type filter hook forward priority 0; policy drop;";
  host.kernel.nftables.runFromOutside(`flush ruleset\ntable ip filter {\n chain FORWARD {\n ${type}\n }\n }`);
  const gone = new PluginError("no driver answers at /run/portolan/ts-bridge.sock");
  expect(await found(gone)).toEqual([
    "driver: problem: systemctl start ts-bridge",
    "FORWARD: problem: systemctl restart ts-bridge",
    "own rules: problem: systemctl restart ts-bridge",
    "leftovers: note: ts-bridge purge # if no longer wanted",
  ]);
});

it("a bridge that takes larger packets than the way out", async () => {
  await host.kernel.links.createBridge({ name: "uplink0", mtu: 1400 });
  host.kernel.routes.extra.push({ destination: "0.0.0.0/0", via: "192.0.2.254", link: "uplink0", table: 254 });
  expect(await found()).toEqual([
    "MTU: note: docker network create -d ts-bridge -o com.docker.network.driver.mtu=1400 NAME",
  ]);
});

it("links with our mark that no record tells of", async () => {
  await host.kernel.links.createBridge({ name: "pt-lost", alias: `portolan ts-bridge ${networkId("lost")}` });
  await host.bridge.look();
  expect(await found()).toEqual(["leftovers: problem: ip link delete pt-lost"]);
  expect((await host.kernel.links.get(BRIDGE))?.name).toBe(BRIDGE);
});

it("forwarding of IPv6 only where a network has IPv6", async () => {
  await host.kernel.sysctls.set("net/ipv6/conf/all/forwarding", "0");
  expect(await found()).toEqual([]);
  await host.createNetwork("six", { onlyIPv6: true, subnet6: "fd00:41::/64" });
  await host.kernel.sysctls.set("net/ipv6/conf/all/forwarding", "0");
  expect(await found()).toEqual(["forwarding: problem: sysctl -w net.ipv6.conf.all.forwarding=1"]);
});

it("a kernel without IPv6", async () => {
  const { kernel } = host;
  const get = kernel.sysctls.get.bind(kernel.sysctls);
  kernel.sysctls.get = (path) => (path.includes("ipv6") ? Promise.resolve(undefined) : get(path));
  expect(await found()).toEqual(["kernel features: note: cat /proc/cmdline # ipv6.disable=1?"]);
});

it("what the driver itself has trouble with: its rules, a network, a port that another program has", async () => {
  const status = host.bridge.status();
  const [network] = status.networks;
  const port = { hostPort: 8080, protocol: "tcp", trouble: "address already in use" };
  const troubled = {
    ...status,
    firewall: { ...status.firewall, trouble: "nft: no such file" },
    networks: [{ ...network, trouble: "there is no bridge lan", endpoints: [{ ports: [port] }] }],
  };
  expect(await found(troubled as unknown as typeof status)).toEqual([
    "driver: problem: journalctl -u ts-bridge",
    "driver: problem: journalctl -u ts-bridge",
    "driver: problem: ss -lnp 'sport = :8080'",
  ]);
});

it("what dockerd has given up and could not be removed", async () => {
  host.failing = "remove link";
  await host.deleteNetwork("net").catch(() => undefined);
  expect(host.bridge.status().pendingDeletes).toHaveLength(1);
  // The bridge that stays is no stray: a record tells what becomes of it.
  expect(await found()).toEqual([
    "driver: problem: journalctl -u ts-bridge",
    "leftovers: note: journalctl -u ts-bridge",
  ]);
});
