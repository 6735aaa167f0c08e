// The options of `docker network create -d ts-overlay -o KEY=VALUE`. Keys of the built-in overlay driver are its own.
import {
  boolean,
  cidr,
  dockerMtu,
  duration,
  integer,
  label,
  oneOf,
  option,
  optionTable,
  PluginError,
  type Cidr,
  type OptionType,
} from "@portolan/sdk";
import { LARGEST_VNI } from "./cluster/vni.ts";

/** What the cluster is to call the network. */
export const NAME = "portolan.network";

/** Of a swarm's network its manager fills it in for all nodes. */
export const VNIS = "com.docker.network.driver.overlay.vxlanid_list";

/**
 * By whom a swarm's network has its number: `etcd`, or without that the network's own id, by which its options are known for an
 * earlier answer, since nobody knows the id before.
 */
export const ALLOCATED = "portolan.allocated";
export const BY_STORE = "etcd";

/** The built-in driver reads a list, one for each subnet; ours has one for the network, which is the first. */
const vnis: OptionType<readonly number[]> = {
  allowed: `numbers from 1 to ${LARGEST_VNI}, separated by commas, of which the first is taken`,
  parse: (text) =>
    text.split(",").map((part) => {
      const vni = integer(1, LARGEST_VNI).parse(part.trim());
      if (vni !== undefined) return vni;
      throw new PluginError(`invalid vxlan id value ${JSON.stringify(part)} passed`, {
        hint: `Give ${vnis.allowed}.`,
      });
    }),
};

/** The built-in driver takes the key alone for yes. */
const flag: OptionType<boolean> = {
  allowed: "true, false or nothing, which is true",
  parse: (text) => (text === "" ? true : boolean.parse(text)),
};

const ranges: OptionType<readonly Cidr[]> = {
  allowed: "a subnet such as 10.9.255.0/24, or one of each family separated by a comma",
  parse: (text) => {
    const subnets = text.split(/[ ,]+/).map((part) => cidr.parse(part)?.subnet);
    return subnets.includes(undefined) ? undefined : (subnets as Cidr[]);
  },
};

export const networkOptions = optionTable(
  {
    name: option({
      keys: [NAME],
      type: label,
      defaultText: "the network's id: this host only",
      help: "Hosts that name the same one have the network together.",
    }),
    mtu: option({
      ...dockerMtu,
      defaultText: "the uplink's less 50 bytes, or 70 over IPv6; encrypted 130, or 150",
      help: "Largest packet of containers, in bytes. The same on all hosts.",
    }),
    vnis: option({
      keys: [VNIS],
      type: vnis,
      defaultText: "a free one",
      help: "The network's number on the wire (VNI). No two networks of the cluster have the same.",
    }),
    port: option({
      keys: ["portolan.vxlan-port"],
      type: integer(1024, 49151),
      defaultText: "4789",
      help: "The UDP port of the hosts.",
    }),
    peerTimeout: option({
      keys: ["portolan.peer-timeout"],
      type: duration,
      defaultText: "60s",
      help: "How long containers of a host that is away from etcd are still sent to.",
    }),
    gateway: option({
      keys: ["portolan.gateway"],
      type: oneOf("own", "docker_gwbridge"),
      defaultText: "docker_gwbridge, or as the other hosts have it",
      help: "The way out of containers: the network's gateway, which each host has, or Docker's own bridge beside it.",
    }),
    encrypted: option({
      keys: ["encrypted"],
      type: flag,
      defaultText: "false, or as the other hosts have it",
      help: "What goes between hosts goes by WireGuard, and never otherwise.",
    }),
    rekey: option({
      keys: ["portolan.rekey"],
      type: duration,
      defaultText: "24h",
      help: "How old a host's key may become, or 0 for any age. It is the host's one key: the shortest of its networks' holds.",
    }),
    serviceRanges: option({
      keys: ["portolan.service-range"],
      type: ranges,
      defaultText: "none: there are no services",
      help: "The part of each subnet whose addresses are for services. It must lie outside every `--ip-range`.",
    }),
    allocated: option({
      keys: [ALLOCATED],
      type: label,
      defaultText: "none",
      help: "Not to be given: a swarm's manager fills it in, for all nodes and for the manager that leads next.",
    }),
  },
  // Keys of the built-in driver that we lack would otherwise be ignored in silence, encryption included.
  { ownPrefixes: ["com.docker.network.driver.", "portolan.", "encrypted"] },
);
