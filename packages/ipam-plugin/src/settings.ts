// The settings that ts-ipam has beside those of every plugin.
import { oneOf, storeSettings } from "@portolan/sdk";
import { DEFAULT_IPV4, parseDefaultPools } from "./addresses/default-pools.ts";
import { defaultPools } from "./options.ts";

export const settings = {
  scope: {
    flag: "scope",
    value: "SCOPE",
    type: oneOf("local", "global"),
    default: "local",
    help: "global: this host is a node of a swarm whose networks have their addresses from here; local: its own only.",
  },
  defaultPools: {
    flag: "default-pool",
    value: "POOL",
    type: defaultPools,
    default: parseDefaultPools(DEFAULT_IPV4),
    defaultText: `${DEFAULT_IPV4}, and for IPv6 a /48 of this host's own as /64`,
    joinedBy: ";",
    help: "Where subnets are chosen from that nobody names, and their size; may be repeated.",
  },
  ...storeSettings,
} as const;
