// Whether the LAN takes what containers send: access points, clouds and hypervisors often know one MAC address for a card.
import type { cardsBelow, Card, hasUdhcpc, machine, Machine } from "@portolan/kernel";
import type { Finding } from "@portolan/sdk";
import type { Flavour } from "./options.ts";
import type { LanStatus } from "./status.ts";

/** What the host is made of. */
export interface Surroundings {
  readonly cardsBelow: typeof cardsBelow;
  readonly machine: typeof machine;
  readonly hasUdhcpc: typeof hasUdhcpc;
}

/** By the beginning of what the firmware calls the maker of the machine. */
const CLOUDS: Readonly<Record<string, string>> = {
  "Alibaba Cloud": "Alibaba Cloud",
  "Amazon EC2": "Amazon EC2",
  DigitalOcean: "DigitalOcean",
  Google: "Google Cloud",
  Hetzner: "Hetzner Cloud",
  "OpenStack Foundation": "OpenStack",
  Scaleway: "Scaleway",
  Vultr: "Vultr",
};

/** Cards of hypervisors that drop foreign MAC addresses until they are told not to, by the kernel's drivers. */
const HYPERVISORS: Readonly<Record<string, readonly [found: string, mend: string]>> = {
  hv_netvsc: [
    "Hyper-V drops other MAC addresses than the card's; on Azure it always does",
    "Set-VMNetworkAdapter -VMName NAME -MacAddressSpoofing On # in PowerShell, on the Hyper-V host",
  ],
  vmxnet3: [
    "vSphere drops other MAC addresses than the card's unless its port group takes them",
    "# in vSphere: port group, Security: accept Promiscuous mode, MAC address changes and Forged transmits",
  ],
};

export async function strangers(
  flavour: Flavour,
  networks: LanStatus["networks"],
  { cardsBelow, machine }: Surroundings,
): Promise<readonly Finding[]> {
  const maker = await machine();
  const outside = networks.filter(({ parent }) => !/^d[mi]-/.test(parent));
  const findings: Finding[] = [];
  for (const name of new Set(outside.map(({ parent, parentNow }) => parentNow ?? parent))) {
    for (const card of await cardsBelow(name)) {
      const finding = flavour.kind === "macvlan" ? foreignMacs(name, card, maker) : foreignAddresses(name, card, maker);
      if (finding) findings.push(finding);
    }
  }
  return findings;
}

function foreignMacs(parent: string, card: Card, maker: Machine): Finding | undefined {
  const ipvlan = `docker network create -d ts-ipvlan -o parent=${parent} …`;
  if (card.isWireless)
    return {
      level: "problem",
      found: `${card.name} is Wi-Fi: access points take frames from its own MAC address only, and containers have others`,
      mend: ipvlan,
    };
  const cloud = cloudOf(maker, card);
  if (cloud !== undefined)
    return {
      level: "problem",
      found: `${cloud} delivers to the MAC address of ${card.name} only, in promiscuous mode, too, and containers have others`,
      mend: ipvlan,
    };
  if (card.isVirtualFunction)
    return {
      level: "note",
      found: `${card.name} is a virtual function: its card drops other MAC addresses, and promiscuous mode, until it trusts it`,
      mend: "ip link set CARD vf NUMBER trust on spoofchk off # on the system that has the card",
    };
  const [found, mend] = HYPERVISORS[card.driver ?? ""] ?? [];
  return found === undefined || mend === undefined
    ? undefined
    : { level: "note", found: `${card.name}: ${found}`, mend };
}

/** Containers' frames have the card's MAC address; but clouds also want to know the addresses. */
function foreignAddresses(parent: string, card: Card, maker: Machine): Finding | undefined {
  const cloud = cloudOf(maker, card);
  if (cloud === undefined) return undefined;
  return {
    level: "note",
    found: `${cloud} leads to ${parent} the addresses that it assigned to it: assign it the containers', too`,
    mend: "docker network create -d ts-ipvlan --ip-range ASSIGNED …",
  };
}

function cloudOf({ vendor, product }: Machine, { driver }: Card): string | undefined {
  // Cards of Amazon's and Google's own making, whatever the firmware says.
  if (driver === "ena") return "Amazon EC2";
  if (driver === "gve") return "Google Cloud";
  // A tunnel or a wire between namespaces ends at the host itself.
  if (driver === undefined) return undefined;
  const [, name] =
    Object.entries(CLOUDS).find(([start]) => vendor.startsWith(start) || product.startsWith(start)) ?? [];
  return name;
}
