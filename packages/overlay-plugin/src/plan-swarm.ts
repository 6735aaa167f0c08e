// What is particular to a swarm's networks: their manager's request, what it answers for all nodes, and whose a network is.
import { PluginError, type AllocateNetworkRequest, type NetworkId } from "@portolan/sdk";
import type { AllocationWish } from "./cluster/allocation.ts";
import { isOfSwarm } from "./naming.ts";
import { ALLOCATED, BY_STORE, networkOptions, VNIS } from "./options.ts";
import { mustBeAnAge, planSubnet } from "./plan.ts";
import { checkRanges } from "./services/ranges.ts";

/** Whose networks are served: this host's own, or a swarm's. */
export type Scope = "local" | "global";

/**
 * A swarm's network as its manager asks for it, with no node in mind. What only a node can know is refused there.
 * @throws PluginError
 */
export function planAllocation({ networkId: id, options, ipv4, ipv6 }: AllocateNetworkRequest): AllocationWish {
  const {
    name = id,
    vnis: [vni] = [],
    allocated,
    encrypted,
    rekey,
    serviceRanges,
  } = networkOptions.parse(options).values;
  mustBeAnAge(rekey, encrypted);
  // Docker 20.10 and 26.1 list both families as IPv4.
  if ([...ipv4, ...ipv6].some(({ pool }) => pool?.family === 6)) {
    throw new PluginError("a swarm's network of another driver than Docker's own has no IPv6", {
      hint: "Create it with one --subnet, of IPv4: Docker gives each node's containers IPv6 addresses that other nodes' have, too.",
    });
  }
  const subnet = planSubnet(4, ipv4);
  const taken = ipv4.flatMap(({ gateway }) => (gateway ? [gateway.address] : []));
  if (serviceRanges) checkRanges(serviceRanges, [subnet], taken);
  return { id, name, ...(vni !== undefined && { vni, hasIt: allocated === id }) };
}

/** What the nodes get in place of the user's options. */
export function allocatedOptions(
  { options, networkId }: AllocateNetworkRequest,
  vni: number,
  hasStore: boolean,
): Readonly<Record<string, string>> {
  return { ...options, [VNIS]: String(vni), [ALLOCATED]: hasStore ? BY_STORE : networkId };
}

/**
 * A node with etcd and one without never hear of each other's containers.
 * @param hasStore whether this node has etcd
 * @throws PluginError when a manager of the other kind gave the network its number
 */
export function mustBeAllocatedAlike(options: Readonly<Record<string, string>>, hasStore: boolean): void {
  const allocated = options[ALLOCATED];
  if (allocated === undefined || (allocated === BY_STORE) === hasStore) return;
  throw new PluginError(
    hasStore
      ? "the network has its number from a manager without a --store, and this node has one"
      : "the network has its number from a manager with a --store, and this node has none",
    {
      hint: `Give ts-overlay the same PORTOLAN_STORE on all nodes of the swarm, or none on all of them: docs/swarm.md. In the options of a new network leave ${ALLOCATED} out.`,
    },
  );
}

/** The refusal of a network by a node whose etcd knows of none: with two of them nodes hear nothing of each other. */
export function notInStore(id: NetworkId): PluginError {
  return new PluginError(`this node's etcd has no network of any swarm, and so not ${id}`, {
    hint: "Give ts-overlay the same PORTOLAN_STORE on all nodes, managers too. If etcd lost what it had: docs/swarm.md says how it gets that again.",
  });
}

/** @throws PluginError for a network that is no swarm's where only a swarm's are served */
export function mustBeInScope(network: NetworkId, scope: Scope): void {
  if (scope === "local" || isOfSwarm(network)) return;
  throw new PluginError("this ts-overlay serves a swarm, and the network is none of a swarm's", {
    hint: "Create it on a manager of the swarm, or start ts-overlay with PORTOLAN_SCOPE=local: docs/swarm.md.",
  });
}
