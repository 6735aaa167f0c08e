// Where an endpoint's link is: at home, or in the sandbox that dockerd has moved it to.
import type { Kernel, Link } from "@portolan/kernel";
import type { EndpointId } from "@portolan/sdk";
import { aliasOf, limiterName, linkName } from "./naming.ts";
import type { Flavour } from "./options.ts";
import type { EndpointRecord } from "./records.ts";

/** dockerd moves the link some time after Join, and before Docker 28 the sandbox is made after it, too. */
export async function hasArrived(
  { flavour, kernel }: { readonly flavour: Flavour; readonly kernel: Kernel },
  { id, sandbox }: EndpointRecord,
): Promise<boolean> {
  if (sandbox === undefined || !(await kernel.sandboxes.exists(sandbox))) return false;
  return (await kernel.links.get(linkName(flavour, id))) === undefined;
}

/** @param links those of its sandbox, where it has another name, and its limiter the same mark */
export function linkIn(links: readonly Link[], flavour: Flavour, id: EndpointId): Link | undefined {
  return links.find(({ name, alias }) => alias === aliasOf(flavour, id) && name !== limiterName(id));
}
