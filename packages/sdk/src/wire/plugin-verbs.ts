// The Plugin vocabulary: one verb, which tells dockerd what else this socket serves.
import type { IpamDriver } from "../ipam-driver.ts";
import type { NetworkDriver } from "../network-driver.ts";
import { entriesFor, type VerbTable } from "./verb.ts";

/** What a plugin serves: a network driver, an IPAM driver, or both through one socket. */
export interface Drivers {
  readonly network?: NetworkDriver | undefined;
  readonly ipam?: IpamDriver | undefined;
}

const { fixed } = entriesFor<Drivers>();

export const pluginVerbs = {
  "Plugin.Activate": fixed(({ network, ipam }) => ({
    Implements: [...(network ? ["NetworkDriver"] : []), ...(ipam ? ["IpamDriver"] : [])],
  })),
} satisfies VerbTable<Drivers>;
