// Permanent entries in the tables that ARP and neighbour discovery fill by themselves.
import { FlagsNew, rt } from "netlink";
import { announce } from "../announcement.ts";
import { isKernelError } from "../kernel-error.ts";
import type { LinkHandle, Neighbour, Neighbours } from "../kernel.ts";
import { addressBytes, addressText, AF_INET, AF_INET6, encode, familyOf, macBytes, macText, uint32 } from "./encode.ts";
import type { Requests } from "./requests.ts";

const { NEWNEIGH, DELNEIGH, GETNEIGH } = rt.MessageType;

export class RtNeighbours implements Neighbours {
  readonly #requests: Requests;

  constructor(requests: Requests) {
    this.#requests = requests;
  }

  async list({ name, index }: LinkHandle): Promise<readonly Neighbour[]> {
    const operation = "list neighbours of";
    const found: Neighbour[] = [];
    for (const family of [AF_INET, AF_INET6]) {
      const payload = encodeNeighbour({ family }, { ifindex: uint32(index) });
      for (const answer of await this.#requests.dump({ operation, device: name, type: GETNEIGH, payload })) {
        const { data, attrs } = rt.parseNeighborMessage(answer);
        if (data.ifindex !== index || data.state?.permanent !== true || !attrs.dst || !attrs.lladdr) continue;
        found.push({ address: addressText(attrs.dst), mac: macText(attrs.lladdr) });
      }
    }
    return found;
  }

  async put({ name, index }: LinkHandle, { address, mac }: Neighbour): Promise<void> {
    const operation = "put neighbour on";
    const payload = encodeNeighbour(
      { family: familyOf(address), ifindex: index, state: { permanent: true } },
      { dst: addressBytes(address), lladdr: macBytes(mac, operation, name) },
    );
    const flags = FlagsNew.CREATE | FlagsNew.REPLACE;
    await this.#requests.send({ operation, device: name, type: NEWNEIGH, flags, payload, bulk: true });
  }

  async remove({ name, index }: LinkHandle, address: string): Promise<boolean> {
    const operation = "remove neighbour from";
    const payload = encodeNeighbour({ family: familyOf(address), ifindex: index }, { dst: addressBytes(address) });
    try {
      await this.#requests.send({ operation, device: name, type: DELNEIGH, payload, bulk: true });
      return true;
    } catch (error) {
      if (isKernelError(error, "ENOENT", "ENODEV")) return false;
      throw error;
    }
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- what it throws is to be a rejection, as elsewhere
  async announce(link: LinkHandle, neighbour: Neighbour): Promise<void> {
    announce(link, neighbour);
  }
}

export function encodeNeighbour(data: rt.Neighbor, attrs: rt.NeighborAttrs): Buffer {
  return encode((out) => rt.formatNeighborMessage({ kind: "neighbor", data, attrs }, out));
}
