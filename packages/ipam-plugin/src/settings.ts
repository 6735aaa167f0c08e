// The settings that ts-ipam has beside those of every plugin.
import { hostname } from "node:os";
import { path, text, type OptionType } from "@portolan/sdk";
import { DEFAULT_IPV4, parseDefaultPools } from "./addresses/default-pools.ts";
import { defaultPools, groupName } from "./options.ts";

/** `etcd://10.0.0.1:2379,10.0.0.2:2379`, or `etcds://` for TLS. */
const storeUrl: OptionType<string> = {
  allowed: "etcd://HOST:PORT, several hosts joined by commas, or etcds:// for TLS",
  parse: (given) => (/^etcds?:\/\/[^\s/,]+:\d+(,[^\s/,]+:\d+)*$/.test(given) ? given : undefined),
};

export const settings = {
  defaultPools: {
    flag: "default-pool",
    value: "POOL",
    type: defaultPools,
    default: parseDefaultPools(DEFAULT_IPV4),
    defaultText: `${DEFAULT_IPV4}, and for IPv6 a /48 of this host's own as /64`,
    joinedBy: ";",
    help: "Where subnets are chosen from that nobody names, and their size; may be repeated.",
  },
  store: {
    flag: "store",
    value: "URL",
    type: storeUrl,
    defaultText: "none, and no pool is shared",
    help: "The etcd through which hosts share pools.",
  },
  storeCa: { flag: "store-ca", value: "FILE", type: path, help: "Certificate authority of etcds://." },
  storeCert: { flag: "store-cert", value: "FILE", type: path, help: "This host's certificate, with --store-key." },
  storeKey: { flag: "store-key", value: "FILE", type: path, help: "The key of --store-cert." },
  storeUser: { flag: "store-user", value: "NAME", type: text, help: "User of etcd, with --store-password-file." },
  storePasswordFile: { flag: "store-password-file", value: "FILE", type: path, help: "Where that user's password is." },
  hostName: {
    flag: "host-name",
    value: "NAME",
    type: groupName,
    default: hostname(),
    defaultText: "the host's",
    help: "What this host is called among those that share pools.",
  },
} as const;
