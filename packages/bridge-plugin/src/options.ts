// The options of `docker network create -d ts-bridge -o KEY=VALUE`. Keys and refusals of the built-in driver are its own.
import {
  address,
  boolean,
  dockerBoolean,
  dockerInterfacePrefix,
  dockerMtu,
  dockerOption,
  oneOf,
  option,
  optionTable,
  rateOptions,
  type OptionType,
  type ValuesOf,
} from "@portolan/sdk";

/** What IPv6 asks of a link (RFC 8200, section 5). */
export const LEAST_MTU_FOR_IPV6 = 1280;
/** The kernel's for links whose MTU nobody sets. */
export const ETHERNET_MTU = 1500;

/**
 * `nat`: a container is reached at published ports of the host's. `nat-unprotected`: at its own address as well, at every
 * port. `routed`: no NAT; at its own address, with ICMP and at published ports. `isolated`: the host has no address there.
 */
const gatewayMode = oneOf("nat", "nat-unprotected", "routed", "isolated");
export type GatewayMode = NonNullable<ReturnType<typeof gatewayMode.parse>>;

/** Names of links in one text, as Docker takes them. */
const linkNames: OptionType<readonly string[]> = {
  allowed: "names of links, separated by colons",
  parse: (text) => {
    const names = text.split(":").filter((name) => name !== "");
    return names.every((name) => /^[^\s/"*]{1,15}$/.test(name)) ? names : undefined;
  },
};

/** Names under /proc/sys/net that are no link's, and those that Docker gives to bridges of its own. */
const NAMES_OF_OTHERS = /^(all|default|docker0|docker_gwbridge|br-[0-9a-f]{12})$/;

/** Empty leaves it to the driver, as with the built-in one. */
const bridgeName: OptionType<string> = {
  allowed: "1 to 15 letters, digits, dots, dashes or underscores, and no name of Docker's own bridges",
  parse: (text) => (/^([\w][\w.-]{0,14})?$/.test(text) && !NAMES_OF_OTHERS.test(text) ? text : undefined),
};

/** The link, or one with a VLAN's id behind a dot. */
const uplink: OptionType<string> = {
  allowed: "the name of a link of the host such as eth1, or of a VLAN on one such as eth1.20",
  parse: (text) => (/^[^\s/:%"*]{1,15}$/.test(text) ? text : undefined),
};

const notAddress = () => "nil ip";
const notMode = (text: string) => `unknown gateway mode ${text}`;

// Keys of the built-in driver that we lack would otherwise be ignored in silence, isolation and addresses included.
const rules = { ownPrefixes: ["com.docker.network.bridge.", "com.docker.network.driver.", "portolan."] };

export const networkOptions = optionTable(
  {
    mtu: option({
      ...dockerMtu,
      defaultText: "the kernel's, 1500",
      help: `Largest packet of the bridge and its containers, in bytes; at least ${LEAST_MTU_FOR_IPV6} with IPv6.`,
    }),
    bridge: option({
      keys: ["com.docker.network.bridge.name"],
      type: bridgeName,
      defaultText: "`pt-` and 12 digits of the id",
      help: "The bridge's name. One that the host has already is used and stays: see Bridges of the host below.",
    }),
    icc: option({
      ...dockerBoolean("com.docker.network.bridge.enable_icc"),
      default: true,
      help: "Whether containers of the network reach each other. They reach the host either way.",
    }),
    masquerade: option({
      ...dockerBoolean("com.docker.network.bridge.enable_ip_masquerade"),
      default: true,
      help: "Whether the world sees the host's address instead of a container's own.",
    }),
    mode4: option({
      ...dockerOption("com.docker.network.bridge.gateway_mode_ipv4", gatewayMode, notMode),
      default: "nat",
      help: "How containers are reached by IPv4: see Gateway modes below.",
    }),
    mode6: option({
      ...dockerOption("com.docker.network.bridge.gateway_mode_ipv6", gatewayMode, notMode),
      default: "nat",
      help: "The same for IPv6.",
    }),
    inhibitIPv4: option({
      ...dockerBoolean("com.docker.network.bridge.inhibit_ipv4"),
      default: false,
      help: "The bridge gets no IPv4 address: another machine on the network is the gateway.",
    }),
    trusted: option({
      keys: ["com.docker.network.bridge.trusted_host_interfaces"],
      type: linkNames,
      defaultText: "none",
      help: "What comes in by these links reaches published ports at the container's own address, too.",
    }),
    hostBinding: option({
      ...dockerOption("com.docker.network.bridge.host_binding_ipv4", address(), notAddress),
      default: "0.0.0.0",
      help: "Where ports are published that name no host address; 0.0.0.0 is every address, IPv6 too, and one of IPv6 will do.",
    }),
    source4: option({
      ...dockerOption("com.docker.network.host_ipv4", address(4), notAddress),
      defaultText: "the host's choice",
      help: "The address that the world sees instead of a container's own.",
    }),
    source6: option({
      ...dockerOption("com.docker.network.host_ipv6", address(6), notAddress),
      defaultText: "the host's choice",
      help: "The same for IPv6.",
    }),
    interfacePrefix: option({
      ...dockerInterfacePrefix,
      default: "eth",
      help: "What the names of interfaces in containers begin with; Docker adds the number.",
    }),
    antispoof: option({
      keys: ["portolan.antispoof"],
      type: boolean,
      default: true,
      help: "Whether what containers send from other addresses than their own is dropped: see Forged addresses below.",
    }),
    uplink: option({
      keys: ["portolan.uplink"],
      type: uplink,
      defaultText: "none",
      help: "Joins the bridge to the LAN that this link is on: see Containers on the LAN below.",
    }),
    ...rateOptions,
  },
  rules,
);

/** Of `docker network connect --driver-opt KEY=VALUE` and `docker run --network name=NAME,driver-opt=KEY=VALUE`. */
export const endpointOptions = optionTable(
  {
    antispoof: option({
      keys: ["portolan.antispoof"],
      type: boolean,
      defaultText: "the network's",
      help: "Whether what it sends from other addresses than its own is dropped.",
    }),
    ...rateOptions,
  },
  rules,
);

export type BridgeOptions = ValuesOf<typeof networkOptions>;
