// Permanent entries in the tables that ARP and neighbour discovery fill by themselves.
import { FlagsNew, rt } from "netlink";
import { announce } from "../announcement.ts";
import { isKernelError } from "../kernel-error.ts";
import type { LinkHandle, Neighbour, Neighbours } from "../kernel.ts";
import { addressBytes, addressText, AF_INET, AF_INET6, familyOf, macBytes, macText } from "./encode.ts";
import { neighbourMessage, NUD_PERMANENT, readNeighbourEntry } from "./neighbour-entry.ts";
import type { Requests } from "./requests.ts";
import { readTable } from "./table-reading.ts";

const { NEWNEIGH, DELNEIGH, GETNEIGH } = rt.MessageType;

export class RtNeighbours implements Neighbours {
  readonly #requests: Requests;

  constructor(requests: Requests) {
    this.#requests = requests;
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- what it throws is to be a rejection, as elsewhere
  async list(link: LinkHandle): Promise<readonly Neighbour[]> {
    const found: Neighbour[] = [];
    for (const part of this.read(link)) found.push(...part);
    return found;
  }

  *read({ name, index }: LinkHandle): Generator<Iterable<Neighbour>> {
    for (const family of [AF_INET, AF_INET6]) {
      const payload = neighbourMessage({ family, onlyOf: index });
      const decode = (bytes: Buffer, start: number, end: number) => {
        const entry = readNeighbourEntry(bytes, start, end);
        const { state, lladdr, dst, dstLength } = entry;
        if (entry.index !== index || (state & NUD_PERMANENT) === 0 || lladdr < 0 || dst < 0) return undefined;
        return { address: addressText(bytes.subarray(dst, dst + dstLength)), mac: macText(bytes, lladdr) };
      };
      const query = { operation: "list neighbours of", device: name, type: GETNEIGH, payload, decode };
      yield* readTable(query, () => this.#requests.isClosed);
    }
  }

  async put({ name, index }: LinkHandle, { address, mac }: Neighbour): Promise<void> {
    const operation = "put neighbour on";
    const [dst, lladdr] = [addressBytes(address), macBytes(mac, operation, name)];
    const payload = neighbourMessage({ family: familyOf(address), index, state: NUD_PERMANENT, dst, lladdr });
    const flags = FlagsNew.CREATE | FlagsNew.REPLACE;
    await this.#requests.send({ operation, device: name, type: NEWNEIGH, flags, payload, bulk: true });
  }

  async remove({ name, index }: LinkHandle, address: string): Promise<boolean> {
    const operation = "remove neighbour from";
    const payload = neighbourMessage({ family: familyOf(address), index, dst: addressBytes(address) });
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
