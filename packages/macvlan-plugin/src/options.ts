// The two drivers and the options of `docker network create -o KEY=VALUE`. Keys and refusals are those of the built-in ones.
import type { IpvlanFlag, IpvlanMode, MacvlanMode } from "@portolan/kernel";
import {
  boolean,
  dockerInterfacePrefix,
  dockerMtu,
  option,
  optionTable,
  PluginError,
  rateOptions,
  text,
  type OptionType,
  type RateValues,
} from "@portolan/sdk";
import type { Mode } from "./records.ts";

/** What IPv6 asks of a link (RFC 8200, section 5). */
export const LEAST_MTU_FOR_IPV6 = 1280;

const OWN_PREFIXES = ["com.docker.network.driver.", "portolan."];

/** Docker takes an empty value for the default. */
function mode<const T extends string>(
  key: string,
  values: readonly [T, ...T[]],
  refusal: (given: string) => string,
): { keys: [string]; type: OptionType<T> } {
  const allowed = `one of ${values.join(", ")}`;
  const parse = (given: string): T => {
    const value = given === "" ? values[0] : values.find((each) => each === given);
    if (value !== undefined) return value;
    throw new PluginError(refusal(given), { hint: `Give ${key} ${allowed}.` });
  };
  return { keys: [key], type: { allowed, parse } };
}

const common = {
  parent: option({
    keys: ["parent"],
    type: {
      ...text,
      allowed: "the name of a link of the host, or link.vlan, or link.vlan.vlan",
      parse: (name) => name,
    },
    defaultText: "none",
    help: "The link whose LAN the containers join. A VLAN that is missing is made. Without one the network is internal.",
  }),
  mtu: option({
    ...dockerMtu,
    defaultText: "the parent's",
    help: `Largest packet in bytes, at most the parent's; at least ${LEAST_MTU_FOR_IPV6} with IPv6.`,
  }),
  interfacePrefix: option({
    ...dockerInterfacePrefix,
    default: "eth",
    help: "What the names of interfaces in containers begin with; Docker adds the number.",
  }),
  hostAccess: option({
    keys: ["portolan.host-access"],
    type: boolean,
    default: false,
    help: "The host and its containers reach each other: see Host access below.",
  }),
};

export const macvlanOptions = optionTable(
  {
    parent: common.parent,
    mode: option({
      ...mode<MacvlanMode>(
        "macvlan_mode",
        ["bridge", "private", "vepa", "passthru"],
        (given) => `requested macvlan mode '${given}' is not valid, 'bridge' mode is the macvlan driver default`,
      ),
      default: "bridge",
      help: "Who reaches whom among the containers: see Modes below.",
    }),
    mtu: common.mtu,
    interfacePrefix: common.interfacePrefix,
    dhcp: option({
      keys: ["portolan.dhcp"],
      type: boolean,
      default: false,
      help: "Containers get their IPv4 addresses from the LAN's own DHCP server: see DHCP below.",
    }),
    hostAccess: common.hostAccess,
    ...rateOptions,
  },
  { ownPrefixes: [...OWN_PREFIXES, "macvlan_"] },
);

export const ipvlanOptions = optionTable(
  {
    parent: common.parent,
    mode: option({
      ...mode<IpvlanMode>(
        "ipvlan_mode",
        ["l2", "l3", "l3s"],
        (given) => `requested ipvlan mode '${given}' is not valid, 'l2' mode is the ipvlan driver default`,
      ),
      default: "l2",
      help: "Where containers' packets are routed: see Modes below.",
    }),
    flag: option({
      ...mode<IpvlanFlag>(
        "ipvlan_flag",
        ["bridge", "private", "vepa"],
        (given) => `requested ipvlan flag '${given}' is not valid, 'bridge' is the ipvlan driver default`,
      ),
      default: "bridge",
      help: "Who reaches whom among the containers: see Modes below.",
    }),
    mtu: common.mtu,
    interfacePrefix: common.interfacePrefix,
    hostAccess: common.hostAccess,
    ...rateOptions,
  },
  { ownPrefixes: [...OWN_PREFIXES, "ipvlan_"] },
);

interface CommonOptions extends RateValues {
  readonly parent?: string;
  readonly mtu?: number;
  readonly interfacePrefix: string;
  readonly mode: Mode;
  /** DHCP servers know clients by their MAC addresses, and ipvlan links have only one. */
  readonly dhcp?: boolean;
  readonly hostAccess?: boolean;
}

/** One of the two drivers: they differ in the kind of link and in what its modes are. */
export interface Flavour {
  readonly name: "ts-macvlan" | "ts-ipvlan";
  readonly kind: Mode["kind"];
  readonly summary: string;
  /** @throws PluginError */
  parse(options: Readonly<Record<string, string>>): { values: CommonOptions; other: readonly string[] };
}

export const macvlan: Flavour = {
  name: "ts-macvlan",
  kind: "macvlan",
  summary: "Docker networks on the host's LAN: containers with MAC addresses of their own.",
  parse(options) {
    const { values, other } = macvlanOptions.parse(options);
    return { values: { ...values, mode: { kind: "macvlan", mode: values.mode } }, other: Object.keys(other) };
  },
};

export const ipvlan: Flavour = {
  name: "ts-ipvlan",
  kind: "ipvlan",
  summary: "Docker networks on the host's LAN: containers behind the MAC address of the host's link.",
  parse(options) {
    const { values, other } = ipvlanOptions.parse(options);
    const { mode: level, flag } = values;
    return { values: { ...values, mode: { kind: "ipvlan", mode: level, flag } }, other: Object.keys(other) };
  },
};
