// Addresses with prefix length, as in 10.40.0.1/24: checked and brought to one spelling.
import ipaddr from "ipaddr.js";
import { KernelError } from "./kernel-error.ts";

export interface Cidr {
  readonly address: string;
  readonly prefixLength: number;
  /** Both, in the one spelling that the kernel's answers are given in. */
  readonly text: string;
}

/** @throws KernelError EINVAL when it is not an address with a prefix length */
export function parseCidr(cidr: string, operation: string, device: string): Cidr {
  // ipaddr.js would read 010.1 and 0x0a000001 as addresses.
  if (!ipaddr.IPv4.isValidCIDRFourPartDecimal(cidr) && !ipaddr.IPv6.isValidCIDR(cidr)) {
    const detail = `"${cidr}" is not an address with a prefix length, as in 10.40.0.1/24 or fd00::1/64`;
    throw new KernelError({ operation, device, code: "EINVAL", detail });
  }
  const [parsed, prefixLength] = ipaddr.parseCIDR(cidr);
  const address = parsed instanceof ipaddr.IPv6 ? parsed.toRFC5952String() : parsed.toString();
  return { address, prefixLength, text: `${address}/${prefixLength}` };
}
