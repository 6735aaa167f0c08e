// Addresses of links.
import { FlagsNew, rt } from "netlink";
import { parseCidr, type Cidr } from "../cidr.ts";
import { isKernelError } from "../kernel-error.ts";
import type { Addresses } from "../kernel.ts";
import { addressBytes, addressText, encode, familyOf } from "./encode.ts";
import type { RtLinks } from "./links.ts";
import type { Requests } from "./requests.ts";

const { NEWADDR, DELADDR, GETADDR } = rt.MessageType;

export class RtAddresses implements Addresses {
  readonly #requests: Requests;
  readonly #links: RtLinks;

  constructor(requests: Requests, links: RtLinks) {
    this.#requests = requests;
    this.#links = links;
  }

  async list(link: string): Promise<readonly string[]> {
    const operation = "list addresses of";
    const { index } = await this.#links.find(link, operation);
    const payload = encodeAddress({ index }, {});
    const answers = await this.#requests.dump({ operation, device: link, type: GETADDR, payload });
    return answers.map((answer) => rt.parseAddressMessage(answer)).flatMap((message) => decode(message, index));
  }

  async add(link: string, cidr: string): Promise<boolean> {
    const operation = `add address ${cidr} to`;
    const address = parseCidr(cidr, operation, link);
    const { index } = await this.#links.find(link, operation);
    const payload = encodeAddress({ ...headerOf(address, index), flags: { nodad: true } }, bodyOf(address));
    const flags = FlagsNew.CREATE | FlagsNew.EXCL;
    try {
      await this.#requests.send({ operation, device: link, type: NEWADDR, flags, payload });
      return true;
    } catch (error) {
      // IPv6 refuses the same address with another prefix length in the same words.
      if (isKernelError(error, "EEXIST") && (await this.list(link)).includes(address.text)) return false;
      throw error;
    }
  }

  async remove(link: string, cidr: string): Promise<boolean> {
    const operation = `remove address ${cidr} from`;
    const address = parseCidr(cidr, operation, link);
    const found = await this.#links.get(link);
    if (!found) return false;
    const payload = encodeAddress(headerOf(address, found.index), bodyOf(address));
    try {
      await this.#requests.send({ operation, device: link, type: DELADDR, payload });
      return true;
    } catch (error) {
      if (isKernelError(error, "EADDRNOTAVAIL", "ENODEV")) return false;
      throw error;
    }
  }
}

function encodeAddress(data: rt.Address, attrs: rt.AddressAttrs): Buffer {
  return encode((out) => rt.formatAddressMessage({ kind: "address", data, attrs }, out));
}

function headerOf({ address, prefixLength }: Cidr, index: number): rt.Address {
  return { family: familyOf(address), prefixlen: prefixLength, index };
}

function bodyOf({ address }: Cidr): rt.AddressAttrs {
  const bytes = addressBytes(address);
  return { local: bytes, address: bytes };
}

/** IFA_ADDRESS is the other end's on a point-to-point link; IFA_LOCAL, where given, is ours. */
function decode({ data, attrs }: rt.AddressMessage, index: number): string[] {
  const bytes = attrs.local ?? attrs.address;
  return bytes && data.index === index ? [`${addressText(bytes)}/${data.prefixlen ?? 0}`] : [];
}
