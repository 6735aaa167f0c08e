// Static entries in the forwarding tables of a VXLAN link and of the bridge it is a port of.
import { FlagsNew, rt } from "netlink";
import { isKernelError } from "../kernel-error.ts";
import type { LinkHandle, ListedStation, Station, Stations } from "../kernel.ts";
import { addressBytes, addressText, macBytes, macText } from "./encode.ts";
import { encodeNeighbour } from "./neighbours.ts";
import type { Requests } from "./requests.ts";

const { NEWNEIGH, DELNEIGH, GETNEIGH } = rt.MessageType;
const AF_BRIDGE = 7;

export class RtStations implements Stations {
  readonly #requests: Requests;

  constructor(requests: Requests) {
    this.#requests = requests;
  }

  async list({ name, index }: LinkHandle): Promise<readonly ListedStation[]> {
    const payload = encodeNeighbour({ family: AF_BRIDGE, ifindex: index }, {});
    const answers = await this.#requests.dump({ operation: "list stations of", device: name, type: GETNEIGH, payload });
    const found = new Map<string, ListedStation>();
    for (const answer of answers) {
      const { data, attrs } = rt.parseNeighborMessage(answer);
      // The link's own address is permanent, and what the bridge has learned is not static.
      if (data.ifindex !== index || data.state?.noarp !== true || !attrs.lladdr) continue;
      const mac = macText(attrs.lladdr);
      const before = found.get(mac) ?? { mac, bridged: false };
      const via = attrs.dst && addressText(attrs.dst);
      found.set(
        mac,
        data.flags?.self ? { ...before, ...(via !== undefined && { via }) } : { ...before, bridged: true },
      );
    }
    return [...found.values()];
  }

  async put({ name, index }: LinkHandle, { mac, via }: Station): Promise<void> {
    const operation = "put station on";
    const payload = encodeNeighbour(
      // Reachable is what VXLAN wants to hear, and without ARP what keeps an entry from ageing.
      {
        family: AF_BRIDGE,
        ifindex: index,
        state: { noarp: true, reachable: true },
        flags: { self: true, master: true },
      },
      { lladdr: macBytes(mac, operation, name), dst: addressBytes(via) },
    );
    const flags = FlagsNew.CREATE | FlagsNew.REPLACE;
    await this.#requests.send({ operation, device: name, type: NEWNEIGH, flags, payload, bulk: true });
  }

  /** Two messages: one for both would stop at the first table that has nothing to remove. */
  async remove(link: LinkHandle, mac: string): Promise<boolean> {
    const [self, master] = await Promise.all([
      this.#removeFrom(link, mac, { self: true }),
      this.#removeFrom(link, mac, { master: true }),
    ]);
    return self || master;
  }

  async #removeFrom({ name, index }: LinkHandle, mac: string, flags: rt.NeighborFlags): Promise<boolean> {
    const operation = "remove station from";
    const lladdr = macBytes(mac, operation, name);
    const payload = encodeNeighbour({ family: AF_BRIDGE, ifindex: index, flags }, { lladdr });
    try {
      await this.#requests.send({ operation, device: name, type: DELNEIGH, payload, bulk: true });
      return true;
    } catch (error) {
      if (isKernelError(error, "ENOENT", "ENODEV", "ENOTSUP")) return false;
      throw error;
    }
  }
}
