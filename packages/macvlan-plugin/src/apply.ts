// Layouts to kernel: what is missing is made, what is there is left alone, and each step has its inverse.
import { isKernelError, isOwn, removeOwn, type Kernel, type StackedSpec } from "@portolan/kernel";
import { PluginError, type Undo } from "@portolan/sdk";
import type { LinkLayout } from "./layout.ts";

/** @throws PluginError when a stranger has the name of a link that can be ours only, KernelError */
export async function applyLink(
  kernel: Kernel,
  { spec, sysctls, addresses = [] }: LinkLayout,
  undo: Undo,
): Promise<void> {
  const { name, alias } = spec;
  const found = await kernel.links.get(name);
  if (found && found.alias !== alias) {
    // Somebody else's VLAN serves as well, and is theirs to take care of.
    if ("stacking" in spec && spec.stacking.kind === "vlan") return;
    throw strangerAt(name);
  }
  if (!found) {
    await makeLink(kernel, spec);
    undo.add(`remove link ${name}`, async () => {
      await kernel.links.remove(name);
    });
  }
  for (const [path, value] of sysctls) {
    // A kernel without IPv6 has none of its settings.
    if ((await kernel.sysctls.get(path)) !== undefined) await kernel.sysctls.set(path, value);
  }
  if (found?.up !== true) await bringUp(kernel, name);
  for (const address of addresses) await kernel.addresses.add(name, address);
}

async function bringUp({ links }: Kernel, name: string): Promise<void> {
  try {
    await links.change(name, { up: true });
  } catch (error) {
    // A VLAN is up no earlier than what it hangs on, and is brought up when a notification tells of that.
    if (!isKernelError(error, "ENETDOWN")) throw error;
  }
}

/** The inverse: a link with our mark goes; one without may be of a moment ago, when we died before the mark. */
export async function removeMadeLink(kernel: Kernel, { spec }: LinkLayout, isUnmarkedOurs: boolean): Promise<void> {
  const found = await kernel.links.get(spec.name);
  if (!found) return;
  const kinds = "stacking" in spec ? [spec.stacking.kind] : ["dummy", "ifb"];
  const isUnmarked = found.alias === undefined && kinds.includes(found.kind);
  if (found.alias === spec.alias || (isUnmarked && isUnmarkedOurs)) await kernel.links.remove(spec.name);
}

async function makeLink(kernel: Kernel, spec: LinkLayout["spec"]): Promise<void> {
  const isVlan = "stacking" in spec && spec.stacking.kind === "vlan";
  try {
    await ("stacking" in spec ? kernel.stackedLinks.create(spec) : kernel.stackedLinks.createDummy(spec));
  } catch (error) {
    if ("stacking" in spec && !isVlan) throw explained(error, spec);
    if (!isKernelError(error, "ENOTSUP")) throw error;
    const [what, module] = isVlan ? ["vlan", "8021q"] : ["dummy", "dummy"];
    throw new PluginError(`failed to create the ${what} link: ${error.message}`, {
      cause: error,
      hint: `This kernel has no such links: modprobe ${module}.`,
    });
  }
}

/** @throws PluginError when a stranger has the link's name, KernelError */
export async function applyEndpoint(
  kernel: Kernel,
  spec: StackedSpec & { readonly alias: string },
  undo: Undo,
): Promise<void> {
  const { name, alias } = spec;
  const found = await kernel.links.get(name);
  if (found) {
    if (!isOwn(found, alias)) throw strangerAt(name);
    const parent = await kernel.links.get(spec.parent);
    if (found.alias !== undefined && found.peer === parent?.index) return;
    // It hangs on another one, or we died while it was made.
    await kernel.links.remove(name);
  }
  try {
    await kernel.stackedLinks.create(spec);
  } catch (error) {
    throw explained(error, spec);
  }
  undo.add(`remove link ${name}`, async () => {
    await removeOwn(kernel.links, { name, alias });
  });
}

/** In Docker's words, and what to do. */
function explained(error: unknown, { parent, stacking: { kind } }: StackedSpec): unknown {
  if (!isKernelError(error)) return error;
  const hints: Readonly<Record<string, string>> = {
    EBUSY: `Something else has ${parent}: a bridge or bond that it is a port of, or ${kind === "macvlan" ? "ipvlan" : "macvlan"} links.`,
    EINVAL: `Another macvlan link has ${parent} in mode passthru, or this one wants it so while others are on it.`,
    ENODEV: `There is no link ${parent}.`,
    ENOTSUP: `This kernel has no ${kind}: modprobe ${kind}.`,
  };
  const hint = hints[error.code];
  return new PluginError(`failed to create the ${kind} port: ${error.message}`, {
    cause: error,
    ...(hint !== undefined && { hint }),
  });
}

function strangerAt(name: string): PluginError {
  return new PluginError(`the host has another link named ${name}, which this driver did not make`, {
    hint: `Look at it with "ip -d link show ${name}", and remove or rename it.`,
  });
}
