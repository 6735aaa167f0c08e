// Which bridge a network gets, and what one of the host's has to give up for it.
import type { NetworkId } from "@portolan/sdk";
import { aliasOf } from "./naming.ts";
import { networkOptions } from "./options.ts";
import { addressesTaken, planBridge, type FoundLink } from "./plan-bridge.ts";
import type { NetworkRecord, SubnetRecord } from "./records.ts";

const ID = "aaaaaaaaaaaa".padEnd(64, "1") as NetworkId;
const OTHER = "bbbbbbbbbbbb".padEnd(64, "2") as NetworkId;
const lan: FoundLink = { kind: "bridge", mtu: 1500, addresses: ["192.0.2.1/24"], settings: {} };
const v4: SubnetRecord = { family: 4, subnet: "192.0.2.0/24", gateway: "192.0.2.1/24", addressSpace: "" };
const v6: SubnetRecord = { family: 6, subnet: "fd00:2::/64", gateway: "fd00:2::1/64", addressSpace: "" };

describe("a network's bridge", () => {
  const plan = (name: string, found?: FoundLink, before?: Partial<NetworkRecord>) =>
    planBridge(ID, name, [v4], before ? [{ id: ID, ...before } as NetworkRecord] : [], found);

  it("is named after the network, or as the user wishes", () => {
    expect(plan("")).toEqual({ bridge: "pt-aaaaaaaaaaaa" });
    expect(plan("web")).toEqual({ bridge: "web" });
  });

  it("is one of the host's when the host has it", () => {
    const { mtu, addresses, settings } = lan;
    expect(plan("lan", lan)).toEqual({ bridge: "lan", adopted: { mtu, addresses, settings } });
  });

  it("is our own when it bears the network's mark: an earlier call made it", () => {
    expect(plan("lan", { ...lan, alias: aliasOf(ID) })).toEqual({ bridge: "lan" });
  });

  it("stays what it was when the call comes again, whatever the link looks like by now", () => {
    const adopted = { mtu: 9000, addresses: [], settings: {} };
    const before = { bridge: "lan", adopted };
    expect(plan("lan", lan, before)).toEqual({ bridge: "lan", adopted });
    expect(plan("lan", lan, { bridge: "lan" })).toEqual({ bridge: "lan" });
  });

  it("is no other kind of link", () => {
    expect(() => plan("eth0", { ...lan, kind: "" })).toThrow("existing interface eth0 is not a bridge");
  });

  it("is none that a forgotten network of ours left, which would never go", () => {
    expect(() => plan("lan", { ...lan, alias: aliasOf(OTHER) })).toThrow(/left over.*ip link delete lan/);
    // Of one that we know it is said that it is taken: see plan.spec.ts.
    expect(plan("lan", { ...lan, alias: aliasOf(OTHER) }, { id: OTHER })).toEqual({ bridge: "lan" });
  });

  it.each([
    "docker0",
    "docker_gwbridge",
    "br-0123456789ab",
    "all",
    "default",
    "-x",
    ".",
    "a/b",
    "a b",
    "sixteencharacter",
  ])("cannot be called %p", (name) => {
    expect(() => networkOptions.parse({ "com.docker.network.bridge.name": name })).toThrow(
      `option "com.docker.network.bridge.name": "${name}" is not allowed. Give 1 to 15 letters`,
    );
  });
});

describe("of an adopted bridge's addresses", () => {
  const taken = (addresses: readonly string[], ...subnets: readonly SubnetRecord[]) =>
    addressesTaken({ mtu: 1500, addresses, settings: {} }, subnets);

  it("all stay when the gateway's is among them", () => {
    expect(taken(["192.0.2.9/24", "192.0.2.1/24", "fe80::1/64", "fd00:2::1/64"], v4, v6)).toEqual([]);
  });

  it("the IPv4 address goes that is in the network's subnet, or else the first", () => {
    expect(taken(["198.51.100.1/24", "192.0.2.9/24"], v4)).toEqual(["192.0.2.9/24"]);
    expect(taken(["198.51.100.1/24", "203.0.113.1/24"], v4)).toEqual(["198.51.100.1/24"]);
    expect(taken(["192.0.2.1/16"], v4)).toEqual(["192.0.2.1/16"]);
  });

  it("no more than one IPv4 address goes: with two in the subnet the network is refused as Docker refuses it", () => {
    const message = "bridge IPv4 (192.0.2.8) does not match requested configuration 192.0.2.1";
    expect(() => taken(["192.0.2.9/24", "192.0.2.8/24"], v4)).toThrow(message);
  });

  it("all of IPv6 go but the kernel's own, in a network with IPv6", () => {
    expect(taken(["fe80::1/64", "2001:db8::5/64", "fd00:2::1/48"], v6)).toEqual(["2001:db8::5/64", "fd00:2::1/48"]);
    expect(taken(["fe80::1/64", "2001:db8::5/64"], v4)).toEqual([]);
  });

  it("those of a family stay in which the network gives the bridge none, but for isolated IPv6", () => {
    const without = ({ gateway: _, ...rest }: SubnetRecord): SubnetRecord => ({ ...rest, mode: "isolated" });
    expect(taken(["198.51.100.1/24", "2001:db8::5/64"], without(v4), without(v6))).toEqual(["2001:db8::5/64"]);
    expect(taken(["198.51.100.1/24"], { ...v4, inhibited: true })).toEqual([]);
  });
});
