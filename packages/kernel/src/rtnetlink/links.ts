// Links: bridges, veth pairs, their ports and their properties.
import { FlagsNew, ifla, rt } from "netlink";
import { isKernelError, KernelError } from "../kernel-error.ts";
import type { BridgePortChange, BridgeSpec, Link, LinkChange, Links, VethSpec, VxlanSpec } from "../kernel.ts";
import { checkLinkName } from "../link-name.ts";
import { encode, macBytes, uint8 } from "./encode.ts";
import { decodeLink, encodeLink, encodeLinkQuery, type LinkMessage } from "./link-message.ts";
import { LinkWatcher } from "./link-watch.ts";
import type { Requests } from "./requests.ts";
import { encodeVxlan } from "./vxlan.ts";

const { NEWLINK, DELLINK, GETLINK, SETLINK } = rt.MessageType;

export class RtLinks implements Links, Disposable {
  readonly #requests: Requests;
  readonly #watchers = new Set<LinkWatcher>();

  constructor(requests: Requests) {
    this.#requests = requests;
  }

  async get(name: string): Promise<Link | undefined> {
    try {
      return await this.find(name, "get link");
    } catch (error) {
      if (isKernelError(error, "ENODEV")) return undefined;
      throw error;
    }
  }

  /** As get, for operations that need the link to be there. @throws KernelError ENODEV */
  async find(name: string, operation: string): Promise<Link> {
    checkLinkName(name, operation);
    const payload = encodeLinkQuery({ name });
    const [answer] = await this.#requests.send({ operation, device: name, type: GETLINK, payload });
    if (!answer) throw new KernelError({ operation, device: name, code: "ENODEV" });
    return decodeLink(answer);
  }

  async list(filter: { readonly master?: string } = {}): Promise<readonly Link[]> {
    const operation = "list links";
    const master = filter.master === undefined ? undefined : (await this.find(filter.master, operation)).index;
    const payload = encodeLinkQuery(master === undefined ? {} : { master });
    const links = (await this.#requests.dump({ operation, type: GETLINK, payload })).map(decodeLink);
    return master === undefined ? links : links.filter((link) => link.master === master);
  }

  async createBridge(spec: BridgeSpec): Promise<Link> {
    const operation = "create bridge";
    await this.#create(operation, spec.name, {
      up: spec.up ?? false,
      attributes: attributesOf(spec, operation, spec.name),
      kind: { kind: "bridge" },
    });
    return this.#finish(spec, operation);
  }

  async createVeth(spec: VethSpec): Promise<Link> {
    const operation = "create veth";
    const { name, peer } = spec;
    checkLinkName(peer.name, operation);
    const master = spec.master === undefined ? {} : { master: await this.#masterIndex(spec.master, operation, name) };
    const far = encodeLink({
      name: peer.name,
      attributes: attributesOf({ ...peer, mtu: spec.mtu }, operation, peer.name),
    });
    await this.#create(operation, name, {
      up: spec.up ?? false,
      attributes: { ...attributesOf(spec, operation, name), ...master },
      kind: { kind: "veth", data: encode(ifla.formatVethInfo({ peer: far })) },
    });
    return this.#finish(spec, operation);
  }

  async createVxlan(spec: VxlanSpec): Promise<Link> {
    const operation = "create vxlan";
    const { name, vxlan } = spec;
    const master = spec.master === undefined ? {} : { master: await this.#masterIndex(spec.master, operation, name) };
    await this.#create(operation, name, {
      up: spec.up ?? false,
      attributes: { ...attributesOf(spec, operation, name), ...master },
      kind: { kind: "vxlan", data: encodeVxlan(vxlan) },
    });
    return this.#finish(spec, operation);
  }

  async change(name: string, change: LinkChange): Promise<void> {
    const operation = "change link";
    checkLinkName(name, operation);
    const { up, master } = change;
    const attributes = { ...attributesOf(change, operation, name), ...aliasOf(change) };
    if (master !== undefined)
      attributes.master = master === null ? 0 : await this.#masterIndex(master, operation, name);
    const payload = encodeLink({ name, ...(up !== undefined && { up }), attributes });
    await this.#requests.send({ operation, device: name, type: SETLINK, payload });
  }

  async changePort(name: string, change: BridgePortChange): Promise<void> {
    const operation = "change bridge port";
    const { master } = await this.find(name, operation);
    // Without a master the kernel would ignore the port's options and report success.
    if (master === undefined)
      throw new KernelError({ operation, device: name, code: "EINVAL", detail: "it is not a port of any bridge" });
    const slaveData = encode(
      ifla.formatBridgePort({
        ...(change.isolated !== undefined && { isolated: uint8(Number(change.isolated)) }),
        ...(change.hairpin !== undefined && { mode: Number(change.hairpin) }),
        ...(change.learning !== undefined && { learning: Number(change.learning) }),
        ...(change.flood !== undefined && { unicastFlood: Number(change.flood) }),
      }),
    );
    const payload = encodeLink({ name, kind: { slaveKind: "bridge", slaveData } });
    await this.#requests.send({ operation, device: name, type: NEWLINK, payload });
  }

  async remove(name: string): Promise<boolean> {
    const operation = "remove link";
    checkLinkName(name, operation);
    try {
      await this.#requests.send({ operation, device: name, type: DELLINK, payload: encodeLink({ name }) });
      return true;
    } catch (error) {
      if (isKernelError(error, "ENODEV")) return false;
      throw error;
    }
  }

  watch(changed: () => void): Disposable {
    const watcher = new LinkWatcher(changed);
    this.#watchers.add(watcher);
    return {
      [Symbol.dispose]: () => {
        this.#watchers.delete(watcher);
        watcher[Symbol.dispose]();
      },
    };
  }

  /** Nobody is told of links any more. */
  [Symbol.dispose](): void {
    for (const watcher of this.#watchers) watcher[Symbol.dispose]();
    this.#watchers.clear();
  }

  /** One message makes the link whole, whatever its kind; the kernel takes it back when a part of it is refused. */
  async #create(operation: string, name: string, message: Omit<LinkMessage, "name">): Promise<void> {
    checkLinkName(name, operation);
    const payload = encodeLink({ name, ...message });
    const flags = FlagsNew.CREATE | FlagsNew.EXCL;
    await this.#requests.send({ operation, device: name, type: NEWLINK, flags, payload });
  }

  /** The kernel ignores an alias in the message that makes a link (rtnl_create_link), so it takes a message of its own. */
  async #finish(spec: BridgeSpec | VethSpec, operation: string): Promise<Link> {
    const { name, alias } = spec;
    if (alias === undefined) return this.find(name, operation);
    const payload = encodeLink({ name, attributes: aliasOf(spec) });
    try {
      // Sent together, answered in order: the link that is found has the alias.
      const [, link] = await Promise.all([
        this.#requests.send({ operation, device: name, type: SETLINK, payload }),
        this.find(name, operation),
      ]);
      return link;
    } catch (error) {
      await this.remove(name);
      throw error;
    }
  }

  async #masterIndex(master: string, operation: string, device: string): Promise<number> {
    const link = await this.get(master);
    if (link) return link.index;
    throw new KernelError({ operation, device, code: "ENODEV", detail: `there is no bridge ${master}` });
  }
}

interface Properties {
  readonly mac?: string | undefined;
  readonly mtu?: number | undefined;
}

function attributesOf({ mac, mtu }: Properties, operation: string, device: string): ifla.LinkAttrs {
  return {
    ...(mac !== undefined && { address: macBytes(mac, operation, device) }),
    ...(mtu !== undefined && { mtu }),
  };
}

const aliasOf = ({ alias }: LinkChange): ifla.LinkAttrs => (alias === undefined ? {} : { ifalias: alias });
