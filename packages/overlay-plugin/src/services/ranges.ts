// The addresses of a network that are for services: which there are, and which of them is tried first for a name.
import { createHash } from "node:crypto";
import { Cidr, PluginError, type Family } from "@portolan/sdk";
import ipaddr from "ipaddr.js";

/** More are never looked at, so that a range of IPv6 is no larger than one of IPv4. */
const LARGEST = 1 << 16;

/**
 * Checks the ranges that a network is to have for services.
 * @param subnets the network's
 * @param taken addresses that somebody has for certain: the gateways
 * @throws PluginError
 */
export function checkRanges(ranges: readonly Cidr[], subnets: readonly string[], taken: readonly string[]): void {
  const refuse = (range: Cidr, why: string) =>
    new PluginError(`option "portolan.service-range": ${range.toString()} ${why}`, {
      hint: "Give a part of each --subnet that lies outside every --ip-range, for instance its last 256 addresses.",
    });
  const families = new Set<Family>();
  for (const range of ranges) {
    const subnet = subnets.map((text) => Cidr.parse(text)).find(({ family }) => family === range.family);
    if (families.has(range.family)) throw refuse(range, `is a second range of IPv${range.family}`);
    families.add(range.family);
    if (!subnet?.contains(range.address) || subnet.prefix >= range.prefix)
      throw refuse(range, `is no part of the network's subnets, which are ${subnets.join(", ")}`);
    if (sizeOf(range) < 4) throw refuse(range, "has fewer than 4 addresses");
    const gateway = taken.find((address) => range.contains(address));
    if (gateway !== undefined) throw refuse(range, `contains the gateway ${gateway}`);
  }
}

/** The first one that nobody has; undefined when there is none. Which is tried first follows from the name. */
export function freeAddress(
  range: string,
  subnet: string | undefined,
  name: string,
  taken: ReadonlySet<string>,
): string | undefined {
  const { address, prefix, family } = Cidr.parse(range).subnet;
  const size = sizeOf({ prefix, family });
  const start = createHash("sha256").update(name).digest().readUInt32BE() % size;
  for (let attempt = 0; attempt < size; attempt += 1) {
    const candidate = plus(address, (start + attempt) % size);
    if (!taken.has(candidate) && !isReserved(candidate, subnet)) return candidate;
  }
  return undefined;
}

/** The first address of a subnet is a router's or nobody's, the last one of IPv4 is everybody's. */
function isReserved(candidate: string, subnet: string | undefined): boolean {
  if (subnet === undefined) return false;
  const { address, prefix, family } = Cidr.parse(subnet).subnet;
  return candidate === address || (family === 4 && candidate === plus(address, 2 ** (32 - prefix) - 1));
}

const sizeOf = ({ prefix, family }: Pick<Cidr, "prefix" | "family">) =>
  Math.min(2 ** ((family === 4 ? 32 : 128) - prefix), LARGEST);

/** As ipaddr.js prints it, which is how dockerd writes it, too. */
function plus(address: string, offset: number): string {
  const bytes = ipaddr.parse(address).toByteArray();
  for (let [place, rest] = [bytes.length - 1, offset]; rest > 0 && place >= 0; place -= 1) {
    const sum = (bytes[place] ?? 0) + rest;
    bytes[place] = sum & 0xff;
    rest = Math.floor(sum / 256);
  }
  return ipaddr.fromByteArray(bytes).toString();
}
