// Links with an owner's mark: the alias tells what we made from what a stranger calls the same.
import type { Link, Links } from "./kernel.ts";

/** Without an alias it is ours too: the kernel takes the alias in a second message, and we may have died between the two. */
export function isOwn({ alias }: Pick<Link, "alias">, expected: string): boolean {
  return alias === undefined || alias === expected;
}

/**
 * Removes a link of ours, and leaves a stranger's alone.
 * @returns whether there was a link of ours to remove
 */
export async function removeOwn(
  links: Links,
  { name, alias }: { readonly name: string; readonly alias: string },
): Promise<boolean> {
  const found = await links.get(name);
  return found !== undefined && isOwn(found, alias) && links.remove(name);
}
