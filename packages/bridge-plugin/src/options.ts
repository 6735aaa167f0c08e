// The options of `docker network create -d ts-bridge -o KEY=VALUE`.
import { integer, option, optionTable, type ValuesOf } from "@portolan/sdk";

/** What IPv6 asks of a link (RFC 8200, section 5). */
export const LEAST_MTU_FOR_IPV6 = 1280;

export const networkOptions = optionTable(
  {
    mtu: option({
      keys: ["com.docker.network.driver.mtu"],
      type: integer(68, 65535),
      defaultText: "the kernel's, 1500",
      help: `Largest packet of the bridge and its containers, in bytes; at least ${LEAST_MTU_FOR_IPV6} with IPv6.`,
    }),
  },
  // Keys of the built-in driver that we lack would otherwise be ignored in silence, isolation and addresses included.
  { ownPrefixes: ["com.docker.network.bridge.", "com.docker.network.driver.", "portolan."] },
);

export type BridgeOptions = ValuesOf<typeof networkOptions>;
