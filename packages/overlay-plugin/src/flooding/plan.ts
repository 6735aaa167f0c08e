// What a network can be that floods and learns, and why it can be no more. Pure.
import { PluginError } from "@portolan/sdk";
import { networkOptions, VNIS } from "../options.ts";
import type { NetworkPlan } from "../plan.ts";

/** What each of these options needs of etcd, and what to do without. */
const REASONS = {
  serviceRanges: [
    "portolan.service-range",
    "nodes tell each other by etcd alone which tasks a virtual address leads to",
    "Leave the option out, and use --endpoint-mode dnsrr or tasks.NAME",
  ],
  encrypted: [
    "encrypted",
    "nodes tell each other their keys by etcd alone",
    "Leave the option out, or encrypt between the hosts",
  ],
  gateway: [
    "portolan.gateway",
    "a gateway that each node has would be heard of by all nodes",
    "Leave the option out: docker_gwbridge is the way out",
  ],
  peerTimeout: [
    "portolan.peer-timeout",
    "nodes hear by etcd alone since when one is away",
    "Leave the option out: packets go to a node until the swarm says that it is gone",
  ],
} as const;

/** @param options the network's @throws PluginError for what takes etcd */
export function mustDoWithoutStore(options: Readonly<Record<string, string>>): void {
  const { gateway, ...values } = networkOptions.parse(options).values;
  const asked = {
    serviceRanges: values.serviceRanges !== undefined,
    encrypted: values.encrypted === true,
    gateway: gateway === "own",
    peerTimeout: values.peerTimeout !== undefined,
  };
  for (const [name, [option, reason, hint]] of Object.entries(REASONS)) {
    if (!asked[name as keyof typeof REASONS]) continue;
    throw new PluginError(`option "${option}" needs a --store: ${reason}`, {
      hint: `${hint}; or give each node's ts-overlay the same --store.`,
    });
  }
}

/** @throws PluginError when nobody chose its number */
export function floodedWish(wish: NetworkPlan["wish"]): NetworkPlan["wish"] {
  if (wish.vni === undefined) {
    throw new PluginError(`the network has no ${VNIS}, which a swarm's manager gives it`, {
      hint: "Is the ts-overlay of the manager that leads started with other settings? Give all nodes the same ones.",
    });
  }
  // An address that all nodes have would be answered for by all of them.
  return { ...wish, gateways: [], floods: true };
}
