// macvlan, ipvlan, VLAN and dummy links by rtnetlink.
import { FlagsNew, ifla, rt } from "netlink";
import { isKernelError, KernelError } from "../kernel-error.ts";
import type { Link } from "../kernel.ts";
import { checkLinkName } from "../link-name.ts";
import type { DummySpec, LinkKind, StackedLinks, StackedSpec, Stacking } from "../stacked-links.ts";
import { encode, macBytes, uint32 } from "./encode.ts";
import { encodeLink, type LinkMessage } from "./link-message.ts";
import type { RtLinks } from "./links.ts";
import type { Requests } from "./requests.ts";

const MACVLAN_MODES = { private: 1, vepa: 2, bridge: 4, passthru: 8 };
const IPVLAN_MODES = { l2: ifla.IpvlanMode.L2, l3: ifla.IpvlanMode.L3, l3s: ifla.IpvlanMode.L3S };
const IPVLAN_FLAGS = { bridge: 0, private: 1, vepa: 2 };
/** The ethertypes of the tags. */
const VLAN_PROTOCOLS = { "802.1Q": 0x8100, "802.1ad": 0x88a8 };

const GROUP = Buffer.from("010000000000", "hex");

export class RtStackedLinks implements StackedLinks {
  readonly #requests: Requests;
  readonly #links: RtLinks;

  constructor(requests: Requests, links: RtLinks) {
    this.#requests = requests;
    this.#links = links;
  }

  async has(kind: LinkKind): Promise<boolean> {
    const operation = `look for ${kind}`;
    // The kind is looked for first. A group's MAC address, and no parent besides, then lets none be made.
    const payload = encodeLink({ name: "pt-none", attributes: { address: GROUP }, kind: { kind } });
    const flags = FlagsNew.CREATE | FlagsNew.EXCL;
    try {
      await this.#requests.send({ operation, device: kind, type: rt.MessageType.NEWLINK, flags, payload });
    } catch (error) {
      if (isKernelError(error, "ENOTSUP")) return false;
      if (isKernelError(error, "EINVAL", "EADDRNOTAVAIL")) return true;
      throw error;
    }
    await this.#links.remove("pt-none");
    return true;
  }

  async create(spec: StackedSpec): Promise<Link> {
    const { name, parent, stacking, mac, mtu, up = false } = spec;
    const operation = `create ${stacking.kind}`;
    const { index } = await this.#parent(parent, operation, name);
    return this.#make(operation, spec, {
      up,
      attributes: {
        link: uint32(index),
        ...(mac !== undefined && { address: macBytes(mac, operation, name) }),
        ...(mtu !== undefined && { mtu }),
      },
      kind: { kind: stacking.kind, data: encodeStacking(stacking) },
    });
  }

  async createDummy(spec: DummySpec): Promise<Link> {
    const { mtu, up = false } = spec;
    const make = (kind: string) =>
      this.#make("create dummy", spec, { up, attributes: mtu === undefined ? {} : { mtu }, kind: { kind } });
    try {
      return await make("dummy");
    } catch (error) {
      if (isKernelError(error, "ENOTSUP")) return make("ifb");
      throw error;
    }
  }

  async #make(
    operation: string,
    { name, alias }: { readonly name: string; readonly alias?: string },
    message: Omit<LinkMessage, "name">,
  ): Promise<Link> {
    checkLinkName(name, operation);
    const payload = encodeLink({ name, ...message });
    const flags = FlagsNew.CREATE | FlagsNew.EXCL;
    await this.#requests.send({ operation, device: name, type: rt.MessageType.NEWLINK, flags, payload });
    if (alias !== undefined) {
      try {
        await this.#links.change(name, { alias });
      } catch (error) {
        await this.#links.remove(name);
        throw error;
      }
    }
    return this.#links.find(name, operation);
  }

  async #parent(parent: string, operation: string, device: string): Promise<Link> {
    const link = await this.#links.get(parent);
    if (link) return link;
    throw new KernelError({ operation, device, code: "ENODEV", detail: `there is no link ${parent}` });
  }
}

function encodeStacking(stacking: Stacking): Buffer {
  switch (stacking.kind) {
    case "macvlan":
      return encode(ifla.formatMacvlan({ mode: MACVLAN_MODES[stacking.mode] }));
    case "ipvlan":
      return encode(
        ifla.formatIpvlan({ mode: IPVLAN_MODES[stacking.mode], flags: uint16(IPVLAN_FLAGS[stacking.flag]) }),
      );
    case "vlan": {
      const protocol = uint16(VLAN_PROTOCOLS[stacking.protocol]);
      // The one number here that is in network byte order; the library writes the host's.
      return encode(ifla.formatVlan({ id: stacking.id, protocol: protocol.swap16().readUInt16LE() }));
    }
  }
}

function uint16(value: number): Buffer {
  const buffer = Buffer.alloc(2);
  buffer.writeUInt16LE(value);
  return buffer;
}
