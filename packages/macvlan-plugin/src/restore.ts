// A parent that disappears takes along what hangs on it, in containers, too. When it is back, their links are made anew.
import type { Kernel, Link, Sandbox } from "@portolan/kernel";
import { Undo } from "@portolan/sdk";
import { applyEndpoint } from "./apply.ts";
import { endpointLayout } from "./layout.ts";
import type { Flavour } from "./options.ts";
import { planJoin } from "./plan.ts";
import type { EndpointRecord, NetworkRecord } from "./records.ts";
import { linkIn } from "./whereabouts.ts";

export interface RestoreParts {
  readonly flavour: Flavour;
  readonly kernel: Kernel;
}

/**
 * Gives the endpoint's container a link again, with the addresses and routes that dockerd gave it, where it has none.
 * @param endpoint one that is joined to a sandbox that lives
 * @param parent the link to hang it on
 * @returns whether it had none
 * @throws KernelError
 */
export async function restoreEndpoint(
  { flavour, kernel }: RestoreParts,
  endpoint: EndpointRecord,
  network: NetworkRecord,
  parent: Link,
): Promise<boolean> {
  if (endpoint.sandbox === undefined) return false;
  const layout = endpointLayout(flavour, endpoint, { ...network, parent: parent.name });
  const atHome = await kernel.links.get(layout.name);
  // Not moved yet, or cut short in what follows here.
  if (atHome?.peer === parent.index && !atHome.up) return false;
  await using sandbox = await kernel.sandboxes.open(endpoint.sandbox);
  const inside = await sandbox.links.list();
  if (linkIn(inside, flavour, endpoint.id)) return false;
  const name = freeName(inside, network.interfacePrefix ?? "eth");
  await using undo = new Undo();
  await applyEndpoint(kernel, layout, undo);
  await sandbox.take(layout.name, name);
  undo.add(`remove ${name} from its sandbox`, async () => {
    await sandbox.links.remove(name);
  });
  const { addresses, lease } = endpoint;
  // As dockerd has it: before Docker 28 sandboxes begin without.
  await sandbox.setIPv6(
    name,
    addresses.some((address) => address.includes(":")),
  );
  for (const address of lease ? [lease.address] : addresses) await sandbox.addresses.add(name, address);
  await sandbox.links.change(name, { up: true });
  await restoreRoutes(flavour, sandbox, name, endpoint, network);
  undo.commit();
  return true;
}

/** dockerd numbers them so. */
function freeName(inside: readonly Link[], prefix: string): string {
  const taken = new Set(inside.map(({ name }) => name));
  for (let number = 0; ; number += 1) {
    const name = `${prefix}${number}`;
    if (!taken.has(name)) return name;
  }
}

/** A default route that the container still has, by another network of its, stays. */
async function restoreRoutes(
  flavour: Flavour,
  { routes }: Sandbox,
  link: string,
  endpoint: EndpointRecord,
  network: NetworkRecord,
): Promise<void> {
  const {
    gateway,
    gatewayIPv6,
    staticRoutes = [],
  } = planJoin(flavour, endpoint, network, endpoint.sandbox ?? "").reply;
  for (const { destination, nextHop } of staticRoutes) {
    await routes.add({ destination: destination.toString(), link, ...(nextHop !== undefined && { via: nextHop }) });
  }
  for (const [family, via] of [
    [4, gateway],
    [6, gatewayIPv6],
  ] as const) {
    const anywhere = family === 4 ? "0.0.0.0/0" : "::/0";
    if (via === undefined || (await routes.list(family)).some(({ destination }) => destination === anywhere)) continue;
    await routes.add({ destination: anywhere, link, via });
  }
}
