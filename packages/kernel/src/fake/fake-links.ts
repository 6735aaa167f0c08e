// Links in memory, refusing what Linux refuses in the same order and with the same codes.
import { randomBytes } from "node:crypto";
import { KernelError } from "../kernel-error.ts";
import type { BridgePortChange, BridgeSpec, Link, LinkChange, Links, VethSpec, VxlanSpec } from "../kernel.ts";
import { checkLinkName } from "../link-name.ts";
import { macBytes, macText } from "../rtnetlink/encode.ts";
import type { FakeHost, FakeLink } from "./fake-host.ts";

const ETHERNET_MTU = 1500;
const MTU_RANGE = { least: 68, most: 65535 };
const LONGEST_ALIAS = 255;
/** Of one bridge. */
const MOST_PORTS = 1023;

export class FakeLinks implements Links {
  readonly #host: FakeHost;

  constructor(host: FakeHost) {
    this.#host = host;
  }

  async get(name: string): Promise<Link | undefined> {
    checkLinkName(name, "get link");
    await this.#host.enter("get link", name);
    const link = this.#host.links.get(name);
    return link && describeLink(link);
  }

  async list(filter: { readonly master?: string } = {}): Promise<readonly Link[]> {
    await this.#host.enter("list links");
    const master = filter.master === undefined ? undefined : this.find(filter.master, "list links").index;
    const links = [...this.#host.links.values()].filter((link) => master === undefined || link.master === master);
    return links.map(describeLink);
  }

  async createBridge(spec: BridgeSpec): Promise<Link> {
    const operation = "create bridge";
    const { name, up = false } = spec;
    this.#checkNew(spec, operation);
    await this.#host.enter(operation, name);
    this.#checkFree(name, operation, name);
    this.#host.step(`${operation} ${name}`);
    const link = this.#host.addLink({ ...properties(spec), name, kind: "bridge", up });
    return describeLink(link);
  }

  async createVeth(spec: VethSpec): Promise<Link> {
    const operation = "create veth";
    const { name, peer, up = false } = spec;
    this.#checkNew(spec, operation);
    this.#checkNew(peer, operation);
    await this.#host.enter(operation, name);
    const master = spec.master === undefined ? undefined : this.#bridge(spec.master, operation, name);
    for (const taken of [name, peer.name]) this.#checkFree(taken, operation, name);
    if (name === peer.name) throw refusal(operation, name, "EEXIST");
    this.#host.step(`${operation} ${name}`);
    const mtu = spec.mtu === undefined ? {} : { mtu: spec.mtu };
    const far = this.#host.addLink({ ...properties({ ...peer, ...mtu }), name: peer.name, kind: "veth", up: false });
    const near = this.#host.addLink({ ...properties(spec), name, kind: "veth", up, peer: far.index });
    far.peer = near.index;
    if (master) near.master = master.index;
    return describeLink(near);
  }

  async createVxlan(spec: VxlanSpec): Promise<Link> {
    const operation = "create vxlan";
    const { name, vxlan, up = false } = spec;
    this.#checkNew(spec, operation);
    await this.#host.enter(operation, name);
    const master = spec.master === undefined ? undefined : this.#bridge(spec.master, operation, name);
    this.#checkFree(name, operation, name);
    const rival = [...this.#host.links.values()].find(
      (other) => other.vxlan?.vni === vxlan.vni && other.vxlan.port === vxlan.port,
    );
    if (rival) throw refusal(operation, name, "EEXIST", "A VXLAN device with the specified VNI already exists");
    if (vxlan.vni >= 1 << 24) throw refusal(operation, name, "ERANGE", "VXLAN ID must be lower than 16777216");
    this.#host.step(`${operation} ${name}`);
    const link = this.#host.addLink({ ...properties(spec), name, kind: "vxlan", up, vxlan: { ...vxlan } });
    if (master) link.master = master.index;
    return describeLink(link);
  }

  async change(name: string, change: LinkChange): Promise<void> {
    const operation = "change link";
    const { up, mtu, mac, alias } = change;
    checkLinkName(name, operation);
    checkProperties(change, operation, name);
    await this.#host.enter(operation, name);
    const link = this.find(name, operation);
    const master = typeof change.master === "string" ? this.#bridge(change.master, operation, name) : undefined;
    this.#host.step(`${operation} ${name}`);
    if (up !== undefined) link.up = up;
    if (up === false) link.neighbours.clear();
    if (mtu !== undefined) link.mtu = mtu;
    if (mac !== undefined) link.mac = mac.toLowerCase();
    if (master) link.master = master.index;
    if (change.master === null) delete link.master;
    if (alias === "") delete link.alias;
    else if (alias !== undefined) link.alias = alias;
  }

  async changePort(name: string, change: BridgePortChange): Promise<void> {
    const operation = "change bridge port";
    checkLinkName(name, operation);
    await this.#host.enter(operation, name);
    const link = this.find(name, operation);
    if (link.master === undefined) throw refusal(operation, name, "EINVAL", "it is not a port of any bridge");
    this.#host.step(`${operation} ${name}`);
    Object.assign(link.port, change);
  }

  async remove(name: string): Promise<boolean> {
    const operation = "remove link";
    checkLinkName(name, operation);
    await this.#host.enter(operation, name);
    const link = this.#host.links.get(name);
    if (!link) return false;
    if (link.kind === "") throw refusal(operation, name, "ENOTSUP");
    this.#host.step(`${operation} ${name}`);
    this.#host.dropLink(link);
    this.#host.dropStackedOn(link);
    const peer = link.kind === "veth" && !link.peerElsewhere ? this.#host.linkByIndex(link.peer) : undefined;
    if (peer) this.#host.dropLink(peer);
    return true;
  }

  watch(changed: () => void): Disposable {
    return this.#host.watch(changed);
  }

  /** @throws KernelError ENODEV */
  find(name: string, operation: string): FakeLink {
    checkLinkName(name, operation);
    const link = this.#host.links.get(name);
    if (!link) throw refusal(operation, name, "ENODEV");
    return link;
  }

  #bridge(master: string, operation: string, device: string): FakeLink {
    const bridge = this.#host.links.get(master);
    if (!bridge) throw refusal(operation, device, "ENODEV", `there is no bridge ${master}`);
    if (bridge.kind !== "bridge") throw refusal(operation, device, "ENOTSUP");
    const ports = [...this.#host.links.values()].filter(
      ({ name, master: own }) => own === bridge.index && name !== device,
    );
    if (ports.length >= MOST_PORTS) throw refusal(operation, device, "EXFULL");
    return bridge;
  }

  #checkNew(spec: Properties & { readonly name: string }, operation: string): void {
    checkLinkName(spec.name, operation);
    checkProperties(spec, operation, spec.name);
  }

  #checkFree(name: string, operation: string, device: string): void {
    if (this.#host.links.has(name)) throw refusal(operation, device, "EEXIST");
  }
}

interface Properties {
  readonly mac?: string;
  readonly mtu?: number;
  readonly alias?: string;
}

function checkProperties({ mac, mtu, alias }: Properties, operation: string, device: string): void {
  if (mac !== undefined) {
    const bytes = macBytes(mac, operation, device);
    const [first = 0] = bytes;
    // A group's address, or none at all.
    if ((first & 1) === 1 || bytes.every((byte) => byte === 0)) throw refusal(operation, device, "EADDRNOTAVAIL");
  }
  if (mtu !== undefined && mtu < MTU_RANGE.least)
    throw refusal(operation, device, "EINVAL", "mtu less than device minimum");
  if (mtu !== undefined && mtu > MTU_RANGE.most)
    throw refusal(operation, device, "EINVAL", "mtu greater than device maximum");
  if (alias !== undefined && Buffer.byteLength(alias) > LONGEST_ALIAS) throw refusal(operation, device, "ERANGE");
}

function properties({ mac, mtu, alias }: Properties) {
  return {
    mac: mac?.toLowerCase() ?? randomMac(),
    mtu: mtu ?? ETHERNET_MTU,
    ...(alias !== undefined && alias !== "" && { alias }),
  };
}

/** One station's address, locally administered, as the kernel invents them. */
export function randomMac(): string {
  const bytes = randomBytes(6);
  bytes[0] = ((bytes[0] ?? 0) & 0xfe) | 0x02;
  return macText(bytes);
}

export function describeLink(own: FakeLink): Link {
  const {
    port: _port,
    addresses: _addresses,
    neighbours: _neighbours,
    stations: _stations,
    defaults: _defaults,
    stacking: _stacking,
    homeName: _homeName,
    ...link
  } = own;
  return link;
}

function refusal(operation: string, device: string, code: string, detail?: string): KernelError {
  return new KernelError({ operation, device, code, detail });
}
