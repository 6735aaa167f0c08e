// What a test sees of a kernel beside the driver that works on it, in an order that does not change.
import type { Kernel } from "../kernel.ts";

/** Every link with its state, its mark, its bridge and its addresses, and every route; but for link-local ones. */
export async function linksAndRoutes({
  links,
  addresses,
  routes,
}: Kernel): Promise<Readonly<Record<"links" | "routes", readonly string[]>>> {
  const found = await links.list();
  const nameOf = (index: number | undefined) => found.find((link) => link.index === index)?.name ?? "";
  const lines = found.map(async ({ name, up, alias = "", master }) =>
    [name, up ? "up" : "down", alias, nameOf(master), ...(await addresses.list(name)).filter(isGlobal)].join(" "),
  );
  const ways = await Promise.all(([4, 6] as const).map((family) => routes.list(family)));
  return {
    links: (await Promise.all(lines)).sort(),
    routes: ways
      .flat()
      .filter(({ destination }) => isGlobal(destination) && !destination.startsWith("ff00:"))
      .map((route) => JSON.stringify(route))
      .sort(),
  };
}

/** Others come and go with the carrier. */
const isGlobal = (address: string) => !address.startsWith("fe80:");

/** What rules are numbered by, and what they count. */
const VOLATILE = new Set(["handle", "packets", "bytes"]);
const lasting = (key: string, value: unknown) => (VOLATILE.has(key) ? undefined : value);

interface NftSet {
  readonly flags?: readonly string[] | string;
  readonly elem?: readonly unknown[];
}

/** @returns a ruleset's objects, with what is in its sets unless packets put it there */
export function linesOf(ruleset: readonly Readonly<Record<string, unknown>>[]): readonly string[] {
  const lines = ruleset.map((object) => {
    const [kind = "", content] = Object.entries(object)[0] ?? [];
    if (kind !== "set" && kind !== "map") return JSON.stringify(object, lasting);
    const { elem = [], ...rest } = content as NftSet;
    const elements = rest.flags?.includes("dynamic") === true ? [] : elem;
    return JSON.stringify(
      { [kind]: rest, elem: elements.map((each) => JSON.stringify(each, lasting)).sort() },
      lasting,
    );
  });
  return lines.sort();
}

/** Whether another program could have a TCP port of this host. */
export async function isPortFree({ ports }: Kernel, port: number): Promise<boolean> {
  try {
    (await ports.reserve({ protocol: "tcp", addresses: ["0.0.0.0"], first: port }))[Symbol.dispose]();
    return true;
  } catch {
    return false;
  }
}
