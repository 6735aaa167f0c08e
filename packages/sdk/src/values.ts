// The values that drivers talk in: ids, addresses with a prefix length, and MAC addresses.
import { createHash } from "node:crypto";
import ipaddr from "ipaddr.js";

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

/** 64 hex digits for a local network, 25 base-36 characters for a swarm network. */
export type NetworkId = Branded<"NetworkId">;
/** 64 hex digits, new at each container start. */
export type EndpointId = Branded<"EndpointId">;
/** Chosen by the IPAM driver, opaque to dockerd. */
export type PoolId = Branded<"PoolId">;

export type Family = 4 | 6;

/** An address with its prefix length, as in `10.40.0.1/24`: an interface address or, with host bits zero, a subnet. */
export class Cidr {
  readonly address: string;
  readonly prefix: number;
  readonly family: Family;

  private constructor(address: string, prefix: number, family: Family) {
    this.address = address;
    this.prefix = prefix;
    this.family = family;
  }

  /**
   * @param text an address in canonical or any usual notation, a slash and the prefix length in bits
   * @throws RangeError naming the text when it is not such a value
   */
  static parse(text: string): Cidr {
    if (!ipaddr.IPv4.isValidCIDRFourPartDecimal(text) && !ipaddr.IPv6.isValidCIDR(text)) {
      throw new RangeError(`"${text}" is not an address with a prefix length such as 10.40.0.1/24 or fd00::1/64`);
    }
    const [address, prefix] = ipaddr.parseCIDR(text);
    return new Cidr(address.toString(), prefix, address.kind() === "ipv4" ? 4 : 6);
  }

  /** The subnet this address lies in: the same prefix length, host bits zero. */
  get subnet(): Cidr {
    const text = this.toString();
    const network =
      this.family === 4 ? ipaddr.IPv4.networkAddressFromCIDR(text) : ipaddr.IPv6.networkAddressFromCIDR(text);
    return new Cidr(network.toString(), this.prefix, this.family);
  }

  /** Whether `address` (no prefix length) lies in this subnet; false across families. */
  contains(address: string): boolean {
    const other = ipaddr.parse(address);
    const own = ipaddr.parse(this.address);
    return other.kind() === own.kind() && other.match([own, this.prefix] as [never, number]);
  }

  overlaps(other: Cidr): boolean {
    return this.prefix <= other.prefix ? this.contains(other.address) : other.contains(this.address);
  }

  toString(): string {
    return `${this.address}/${String(this.prefix)}`;
  }

  toJSON(): string {
    return this.toString();
  }
}

/** A MAC address in the usual form, six lower-case hex octets joined by colons. */
export type Mac = Branded<"Mac">;

/** @throws RangeError naming the text when it is not six hex octets */
export function parseMac(text: string): Mac {
  if (!/^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i.test(text)) {
    throw new RangeError(`"${text}" is not a MAC address such as 02:42:0a:28:00:02`);
  }
  return text.toLowerCase().replaceAll("-", ":") as Mac;
}

/** A locally administered address of one station that follows from the text, and looks random. */
export function stationMac(text: string): Mac {
  const bytes = createHash("sha256").update(text).digest().subarray(0, 6);
  bytes[0] = ((bytes[0] ?? 0) & 0xfc) | 0x02;
  return parseMac(bytes.toString("hex").replace(/..(?!$)/g, "$&:"));
}

/** An id as Docker's own command line shows it: 12 characters. Other texts stay as they are. */
export function shortId(text: string): string {
  return /^([0-9a-f]{64}|[0-9a-z]{25})$/.test(text) ? text.slice(0, 12) : text;
}
