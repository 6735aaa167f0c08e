// WireGuard links in memory. Nobody is at their other ends: handshakes are had at once by peers that are spoken to.
import { createHash } from "node:crypto";
import { KernelError } from "../kernel-error.ts";
import type { Link } from "../kernel.ts";
import { checkLinkName } from "../link-name.ts";
import { parseCidr } from "../cidr.ts";
import type { Tunnel, TunnelPeer, TunnelPeerSpec, Tunnels, TunnelSpec } from "../tunnels.ts";
import { keyBytes, mustBeKey } from "../wireguard/message.ts";
import { describeLink } from "./fake-links.ts";
import type { FakeHost, FakeLink } from "./fake-host.ts";

/** What WireGuard takes of an Ethernet's 1500 bytes over IPv6. */
const TUNNEL_MTU = 1420;

interface State {
  readonly publicKey: string;
  readonly port: number;
  readonly peers: Map<string, TunnelPeer>;
}

export class FakeTunnels implements Tunnels {
  /** False for a kernel without WireGuard. */
  available = true;
  /** Whether other ends answer, by their public keys. */
  answers: (publicKey: string) => boolean = () => true;
  readonly #host: FakeHost;
  readonly #states = new WeakMap<FakeLink, State>();

  constructor(host: FakeHost) {
    this.#host = host;
  }

  async areAvailable(): Promise<boolean> {
    await this.#host.enter("look for WireGuard");
    return this.available;
  }

  async get(name: string): Promise<Tunnel | undefined> {
    checkLinkName(name, "get tunnel");
    await this.#host.enter("get tunnel", name);
    const state = this.#state(name);
    return state && { ...state, peers: [...state.peers.values()] };
  }

  async create({ name, privateKey, port, mtu = TUNNEL_MTU, alias, up = false }: TunnelSpec): Promise<Link> {
    const operation = "create tunnel";
    const refuse = (code: string) => new KernelError({ operation, device: name, code });
    checkLinkName(name, operation);
    mustBeKey(privateKey, operation, name);
    await this.#host.enter(operation, name);
    if (!this.available) throw refuse("ENOTSUP");
    if (this.#host.links.has(name)) throw refuse("EEXIST");
    const rivals = this.#host.links.values().filter((link) => link.up && this.#states.get(link)?.port === port);
    if (up && rivals.toArray().length > 0) throw refuse("EADDRINUSE");
    this.#host.step(`${operation} ${name}`);
    const mark = alias === undefined ? {} : { alias };
    const link = this.#host.addLink({ name, kind: "wireguard", mac: "", mtu, up, ...mark });
    // Not the real one, but one that follows from it.
    const publicKey = createHash("sha256").update(privateKey).digest("base64");
    this.#states.set(link, { publicKey, port, peers: new Map() });
    this.#host.tellWatchers();
    return describeLink(link);
  }

  async putPeer(name: string, peer: TunnelPeerSpec): Promise<void> {
    const operation = "put peer on";
    checkLinkName(name, operation);
    keyBytes(peer.publicKey, operation, name);
    for (const cidr of peer.allowed) parseCidr(cidr, operation, name);
    await this.#host.enter(operation, name);
    const { peers } = this.#mustFind(name, operation);
    this.#host.step(`${operation} ${name}: ${peer.publicKey}`);
    for (const [key, other] of peers)
      peers.set(key, { ...other, allowed: other.allowed.filter((cidr) => !peer.allowed.includes(cidr)) });
    const { lastHandshake, received = 0, sent = 0 } = peers.get(peer.publicKey) ?? {};
    const shaken = lastHandshake ?? (peer.keepalive > 0 && this.answers(peer.publicKey) ? Date.now() : undefined);
    peers.set(peer.publicKey, { ...peer, ...(shaken !== undefined && { lastHandshake: shaken }), received, sent });
  }

  async removePeer(name: string, publicKey: string): Promise<boolean> {
    const operation = "remove peer from";
    checkLinkName(name, operation);
    await this.#host.enter(operation, name);
    const state = this.#state(name);
    if (state?.peers.has(publicKey) !== true) return false;
    this.#host.step(`${operation} ${name}: ${publicKey}`);
    return state.peers.delete(publicKey);
  }

  #state(name: string): State | undefined {
    const link = this.#host.links.get(name);
    return link && this.#states.get(link);
  }

  #mustFind(name: string, operation: string): State {
    const state = this.#state(name);
    if (state) return state;
    throw new KernelError({ operation, device: name, code: this.#host.links.has(name) ? "ENOTSUP" : "ENODEV" });
  }
}
