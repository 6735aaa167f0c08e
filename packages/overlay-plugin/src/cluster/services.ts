// Services in the cluster: which virtual addresses and ports each has, and on which hosts it has containers. Made by the
// first of these hosts, gone with the last.
import { isDeepStrictEqual } from "node:util";
import { PluginError } from "@portolan/sdk";
import type { Condition, SharedStore, Write } from "@portolan/state";
import { freeAddress } from "../services/ranges.ts";
import {
  asService,
  portKey,
  serviceKey,
  vipKey,
  vipRoot,
  type PortEntry,
  type ServiceEntry,
  type VipEntry,
} from "./keys.ts";

/** Enough for as many hosts that start a service at the same instant. */
const ATTEMPTS = 1_000;

export interface ServiceWish {
  readonly network: string;
  readonly service: string;
  readonly subnets: readonly string[];
  /** One a family at most; there is at least one. */
  readonly ranges: readonly string[];
  /** As in `8080:80/tcp`; undefined leaves it to what the service has. */
  readonly publish?: readonly string[] | undefined;
}

/**
 * Enters a host into a service, which is made when there is none.
 * @throws PluginError when no address is left, a port is another service's, or the service has other ports; StoreAway
 */
export async function enterService(store: SharedStore, host: string, wish: ServiceWish): Promise<ServiceEntry> {
  const { network, service, publish } = wish;
  const key = serviceKey(network, service);
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const found = await store.get(key);
    const known = asService(found?.value);
    if (found && known) {
      if (publish && !isDeepStrictEqual(publish, known.publish)) throw differs(service, publish, known);
      if (known.hosts.includes(host)) return known;
      const entered = { ...known, hosts: [...known.hosts, host] };
      if (await store.transact([{ key, revision: found.revision }], [{ key, value: entered }])) return entered;
      continue;
    }
    const vips = await chooseVips(store, wish);
    const entry: ServiceEntry = { vips, publish: publish ?? [], hosts: [host] };
    const conditions: Condition[] = [
      found ? { key, revision: found.revision } : { key, absent: true },
      ...claims(network, service, entry).map((claim) => ({ key: claim.key, absent: true as const })),
    ];
    if (await store.transact(conditions, [{ key, value: entry }, ...claims(network, service, entry)])) return entry;
    await refusePorts(store, wish);
  }
  throw new PluginError(`others kept changing the service ${service} in ${store.name}`, { hint: "Try again." });
}

/** Takes a host out; the last one takes the service with it, its addresses and ports. @throws StoreAway */
export async function leaveService(store: SharedStore, host: string, network: string, service: string): Promise<void> {
  const key = serviceKey(network, service);
  for (;;) {
    const found = await store.get(key);
    const entry = asService(found?.value);
    if (!found || !entry?.hosts.includes(host)) return;
    const hosts = entry.hosts.filter((each) => each !== host);
    const writes: Write[] =
      hosts.length > 0
        ? [{ key, value: { ...entry, hosts } }]
        : [
            { key, value: undefined },
            ...claims(network, service, entry).map((claim) => ({ ...claim, value: undefined })),
          ];
    if (await store.transact([{ key, revision: found.revision }], writes)) return;
  }
}

/** What keeps others from a service's addresses and ports. */
function claims(network: string, service: string, { vips, publish }: ServiceEntry): readonly Write[] {
  const vip: VipEntry = { service };
  const port: PortEntry = { network, service };
  return [
    ...vips.map((address) => ({ key: vipKey(network, address), value: vip })),
    ...publish.map((text) => ({ key: portKey(text), value: port })),
  ];
}

async function chooseVips(store: SharedStore, wish: ServiceWish): Promise<readonly string[]> {
  const { network, service, ranges, subnets } = wish;
  const root = vipRoot(network);
  const { entries } = await store.list(root);
  const taken = new Set(entries.map(({ key }) => key.slice(root.length)));
  return ranges.map((range) => {
    const subnet = subnets.find((each) => each.includes(":") === range.includes(":"));
    const address = freeAddress(range, subnet, service, taken);
    if (address !== undefined) return address;
    throw new PluginError(`all addresses of ${range} are had by services`, {
      hint: "Remove services of the network, or make a network with a larger portolan.service-range.",
    });
  });
}

/** @throws PluginError when a port of the wish is another service's */
async function refusePorts(store: SharedStore, { network, service, publish = [] }: ServiceWish): Promise<void> {
  for (const text of publish) {
    const holder = (await store.get(portKey(text)))?.value as PortEntry | undefined;
    if (!holder || (holder.network === network && holder.service === service)) continue;
    throw new PluginError(
      `option "portolan.publish": port ${portKey(text).replace(/.*\/(.*)\/(.*)/, "$2/$1")} is the service ${holder.service}'s, in the network ${holder.network}`,
      { hint: "Publish another port: each is one service's in the whole cluster." },
    );
  }
}

function differs(service: string, publish: readonly string[], known: ServiceEntry): PluginError {
  const words = (ports: readonly string[]) => (ports.length > 0 ? ports.join(" ") : "nothing");
  return new PluginError(
    `option "portolan.publish": the service ${service} on ${known.hosts.join(", ")} publishes ${words(known.publish)}, and this container asks for ${words(publish)}`,
    { hint: "Give all containers of a service the same, or leave it out for all but the first." },
  );
}
