// Static entries in the forwarding tables of a VXLAN link and of the bridge it is a port of.
import { FlagsNew, rt } from "netlink";
import { isKernelError } from "../kernel-error.ts";
import type { LinkHandle, ListedStation, Station, Stations } from "../kernel.ts";
import { addressBytes, addressText, macBytes, macText } from "./encode.ts";
import {
  neighbourMessage,
  NTF_MASTER,
  NTF_SELF,
  NTF_STICKY,
  NUD_NOARP,
  NUD_PERMANENT,
  NUD_REACHABLE,
  readNeighbourEntry,
} from "./neighbour-entry.ts";
import type { Requests } from "./requests.ts";
import { readTable } from "./table-reading.ts";

const { NEWNEIGH, DELNEIGH, GETNEIGH } = rt.MessageType;
const AF_BRIDGE = 7;
/** The entry for stations that a VXLAN link does not know, of which it has several. */
const ANYBODY = Buffer.alloc(6);

export class RtStations implements Stations {
  readonly #requests: Requests;

  constructor(requests: Requests) {
    this.#requests = requests;
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- what it throws is to be a rejection, as elsewhere
  async list(link: LinkHandle): Promise<readonly ListedStation[]> {
    const found = new Map<string, ListedStation>();
    for (const part of this.read(link)) {
      for (const { mac, via, bridged } of part) {
        const before = found.get(mac) ?? { mac, bridged };
        found.set(mac, { ...before, ...(via !== undefined && { via }), bridged: before.bridged || bridged });
      }
    }
    return [...found.values()];
  }

  *read({ name, index }: LinkHandle): Generator<Iterable<ListedStation>> {
    const payload = neighbourMessage({ family: AF_BRIDGE, index });
    const decode = (bytes: Buffer, start: number, end: number): ListedStation | undefined => {
      const entry = readNeighbourEntry(bytes, start, end);
      const { state, flags, lladdr, dst, dstLength } = entry;
      // The link's own address is permanent, and what the bridge has learned is not static.
      if (entry.index !== index || (state & NUD_NOARP) === 0 || lladdr < 0) return undefined;
      if (isAnybody(bytes, lladdr)) return undefined;
      const mac = macText(bytes, lladdr);
      if ((flags & NTF_SELF) === 0) return { mac, bridged: (flags & NTF_STICKY) !== 0 };
      return { mac, bridged: false, ...(dst >= 0 && { via: addressText(bytes.subarray(dst, dst + dstLength)) }) };
    };
    const query = { operation: "list stations of", device: name, type: GETNEIGH, payload, decode };
    yield* readTable(query, () => this.#requests.isClosed);
  }

  async put({ name, index }: LinkHandle, { mac, via }: Station): Promise<void> {
    const operation = "put station on";
    const lladdr = macBytes(mac, operation, name);
    // Reachable is what VXLAN wants to hear, and without ARP what keeps an entry from ageing.
    // And without sticky, the bridge would move even a static one to the port where somebody else sends from its address.
    const [state, bridged] = [NUD_NOARP | NUD_REACHABLE, NTF_MASTER | NTF_STICKY];
    const where = via === undefined ? { flags: bridged } : { flags: bridged | NTF_SELF, dst: addressBytes(via) };
    const payload = neighbourMessage({ family: AF_BRIDGE, index, state, lladdr, ...where });
    const flags = FlagsNew.CREATE | FlagsNew.REPLACE;
    await this.#requests.send({ operation, device: name, type: NEWNEIGH, flags, payload, bulk: true });
  }

  /** Two messages: one for both would stop at the first table that has nothing to remove. */
  async remove(link: LinkHandle, mac: string): Promise<boolean> {
    const [self, master] = await Promise.all([
      this.#removeFrom(link, mac, NTF_SELF),
      this.#removeFrom(link, mac, NTF_MASTER),
    ]);
    return self || master;
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- what it throws is to be a rejection, as elsewhere
  async defaults({ name, index }: LinkHandle): Promise<readonly string[]> {
    const payload = neighbourMessage({ family: AF_BRIDGE, index });
    const decode = (bytes: Buffer, start: number, end: number): string | undefined => {
      const entry = readNeighbourEntry(bytes, start, end);
      const { flags, lladdr, dst, dstLength } = entry;
      if (entry.index !== index || (flags & NTF_SELF) === 0 || lladdr < 0 || dst < 0) return undefined;
      return isAnybody(bytes, lladdr) ? addressText(bytes.subarray(dst, dst + dstLength)) : undefined;
    };
    const query = { operation: "list default destinations of", device: name, type: GETNEIGH, payload, decode };
    const found: string[] = [];
    for (const part of readTable(query, () => this.#requests.isClosed)) found.push(...part);
    return found;
  }

  async addDefault({ name, index }: LinkHandle, via: string): Promise<void> {
    const operation = "add default destination to";
    const kind = { state: NUD_PERMANENT, flags: NTF_SELF };
    const payload = neighbourMessage({ family: AF_BRIDGE, index, ...kind, lladdr: ANYBODY, dst: addressBytes(via) });
    const flags = FlagsNew.CREATE | FlagsNew.APPEND;
    await this.#requests.send({ operation, device: name, type: NEWNEIGH, flags, payload });
  }

  async removeDefault({ name, index }: LinkHandle, via: string): Promise<void> {
    const operation = "remove default destination from";
    const [lladdr, dst] = [ANYBODY, addressBytes(via)];
    const payload = neighbourMessage({ family: AF_BRIDGE, index, flags: NTF_SELF, lladdr, dst });
    try {
      await this.#requests.send({ operation, device: name, type: DELNEIGH, payload });
    } catch (error) {
      if (!isKernelError(error, "ENOENT", "ENODEV", "ENOTSUP")) throw error;
    }
  }

  async #removeFrom({ name, index }: LinkHandle, mac: string, flags: number): Promise<boolean> {
    const operation = "remove station from";
    const lladdr = macBytes(mac, operation, name);
    const payload = neighbourMessage({ family: AF_BRIDGE, index, flags, lladdr });
    try {
      await this.#requests.send({ operation, device: name, type: DELNEIGH, payload, bulk: true });
      return true;
    } catch (error) {
      if (isKernelError(error, "ENOENT", "ENODEV", "ENOTSUP")) return false;
      throw error;
    }
  }
}

const isAnybody = (bytes: Buffer, lladdr: number) => bytes.readUIntBE(lladdr, 6) === 0;
