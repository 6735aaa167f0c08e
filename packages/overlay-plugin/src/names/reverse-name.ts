// The name under which DNS keeps an address's names (RFC 1035, section 3.5; RFC 3596, section 2.5).
import ipaddr from "ipaddr.js";

const V4 = /^((?:\d{1,3}\.){4})in-addr\.arpa$/;
const V6 = /^((?:[0-9a-f]\.){32})ip6\.arpa$/;

/** @param name in lower case @returns the address as ipaddr.js prints it; undefined when the name is none of an address */
export function addressOfReverseName(name: string): string | undefined {
  const v4 = V4.exec(name)?.[1]?.split(".").slice(0, 4).reverse().join(".");
  if (v4 !== undefined) return ipaddr.IPv4.isValidFourPartDecimal(v4) ? ipaddr.IPv4.parse(v4).toString() : undefined;
  const digits = V6.exec(name)?.[1]?.split(".").slice(0, 32).reverse().join("");
  const groups = digits?.match(/.{4}/g);
  return groups ? ipaddr.IPv6.parse(groups.join(":")).toString() : undefined;
}
