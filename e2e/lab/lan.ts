// Networks whose containers are on the underlay themselves, for the suites of ts-macvlan and ts-ipvlan.
import type { Host } from "./host.ts";

/** The underlay's subnets, with its router as gateway, and the part of them that containers get addresses from. */
export const UNDERLAY = {
  subnet: "198.51.100.0/24",
  gateway: "198.51.100.1",
  subnet6: "fd00:120::/64",
  gateway6: "fd00:120::1",
};

/** Flags of `docker network create` for the underlay, with a share of its addresses for each of up to seven hosts. */
export function onUnderlay(share = 1): string[] {
  const four = ["--subnet", UNDERLAY.subnet, "--gateway", UNDERLAY.gateway];
  return ["-o", "parent=eth0", ...four, "--ip-range", `198.51.100.${32 * share}/27`];
}

/** The same for IPv6. */
export function alsoIPv6(share = 1): string[] {
  const six = ["--subnet", UNDERLAY.subnet6, "--gateway", UNDERLAY.gateway6];
  return ["--ipv6", ...six, "--ip-range", `fd00:120::${share}:0/112`];
}

/** The names of the host's links, without the number of a parent. */
export async function linkNames(host: Host): Promise<readonly string[]> {
  const links = JSON.parse(await host.must(["ip", "-json", "link"])) as readonly { readonly ifname: string }[];
  return links.map(({ ifname }) => ifname);
}

interface Route {
  readonly dst: string;
  readonly gateway?: string;
  readonly dev: string;
}

/** The default routes in a container, as `via ADDRESS` or `on LINK`. */
export async function defaultRoutes(host: Host, container: string, family: 4 | 6 = 4): Promise<readonly string[]> {
  const words = [...(await host.inNetworkOf(container)), "ip", `-${family}`, "-json", "route", "show", "default"];
  const routes = JSON.parse((await host.must(words)) || "[]") as readonly Route[];
  return routes.map(({ gateway, dev }) => (gateway === undefined ? `on ${dev}` : `via ${gateway}`));
}
