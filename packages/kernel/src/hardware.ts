// What sysfs tells of the hardware below a link: who makes a machine and a network card decides what a LAN takes from them.
import { existsSync } from "node:fs";
import { readdir, readFile, readlink } from "node:fs/promises";
import { basename, join } from "node:path";

export interface Machine {
  /** As the firmware says it (DMI), such as `Amazon EC2`; empty where it says nothing. */
  readonly vendor: string;
  readonly product: string;
}

export interface Card {
  /** The link's name. */
  readonly name: string;
  readonly isWireless: boolean;
  /** A share of a card that another system has (SR-IOV). */
  readonly isVirtualFunction: boolean;
  /** Of the kernel; undefined for what is no hardware. */
  readonly driver?: string;
}

export async function machine(sys = "/sys"): Promise<Machine> {
  const read = (name: string) =>
    readFile(join(sys, "class/dmi/id", name), "utf8").then(
      (text) => text.trim(),
      () => "",
    );
  return { vendor: await read("sys_vendor"), product: await read("product_name") };
}

/** The cards that a link ends at: itself, or those below a VLAN, a bond, or a bridge. None for a link that is not there. */
export async function cardsBelow(link: string, sys = "/sys"): Promise<readonly Card[]> {
  const folder = join(sys, "class/net", link);
  const names = await readdir(folder).catch(() => undefined);
  if (!names) return [];
  const below = names.filter((name) => name.startsWith("lower_")).map((name) => name.slice("lower_".length));
  if (below.length > 0) return (await Promise.all(below.map((name) => cardsBelow(name, sys)))).flat();
  const driver = await readlink(join(folder, "device/driver")).then(basename, () => undefined);
  return [
    {
      name: link,
      isWireless: names.includes("wireless") || names.includes("phy80211"),
      isVirtualFunction: existsSync(join(folder, "device/physfn")),
      ...(driver !== undefined && { driver }),
    },
  ];
}
