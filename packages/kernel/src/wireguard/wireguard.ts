// WireGuard links: made by rtnetlink, keys and peers by generic netlink.
import { FlagsNew, Protocol, rt } from "netlink";
import { isKernelError, KernelError } from "../kernel-error.ts";
import type { Link } from "../kernel.ts";
import { checkLinkName } from "../link-name.ts";
import { encodeLink } from "../rtnetlink/link-message.ts";
import type { RtLinks } from "../rtnetlink/links.ts";
import { Requests, type Request } from "../rtnetlink/requests.ts";
import type { Tunnel, TunnelPeerSpec, Tunnels, TunnelSpec } from "../tunnels.ts";
import { GENERIC_HEADER_LENGTH, genericFamily, genericMessage } from "./generic-family.ts";
import { decodeTunnel, encodeIdentity, encodePeer, encodeQuery, encodeRemoval, mustBeKey, WG_CMD } from "./message.ts";

export class WireGuard implements Tunnels, Disposable {
  readonly #links: RtLinks;
  readonly #rtnetlink: Requests;
  #generic: Requests | undefined;
  #family: number | undefined;

  constructor(rtnetlink: Requests, links: RtLinks) {
    this.#rtnetlink = rtnetlink;
    this.#links = links;
  }

  async areAvailable(): Promise<boolean> {
    try {
      await this.#resolve("look for WireGuard");
      return true;
    } catch (error) {
      if (isKernelError(error, "ENOTSUP")) return false;
      throw error;
    }
  }

  async get(name: string): Promise<Tunnel | undefined> {
    const operation = "get tunnel";
    checkLinkName(name, operation);
    try {
      return decodeTunnel(await this.#ask(operation, name, WG_CMD.GET_DEVICE, encodeQuery(name)));
    } catch (error) {
      if (isKernelError(error, "ENODEV", "ENOTSUP")) return undefined;
      throw error;
    }
  }

  async create({ name, privateKey, port, mtu, alias, up = false }: TunnelSpec): Promise<Link> {
    const operation = "create tunnel";
    checkLinkName(name, operation);
    mustBeKey(privateKey, operation, name);
    const payload = encodeLink({ name, attributes: mtu === undefined ? {} : { mtu }, kind: { kind: "wireguard" } });
    const flags = FlagsNew.CREATE | FlagsNew.EXCL;
    await this.#rtnetlink.send({ operation, device: name, type: rt.MessageType.NEWLINK, flags, payload });
    try {
      const identity = encodeIdentity(name, privateKey, port, operation);
      await this.#ask(operation, name, WG_CMD.SET_DEVICE, identity);
      // The port is taken when the link comes up, and not before.
      await this.#links.change(name, { ...(alias !== undefined && { alias }), ...(up && { up }) });
    } catch (error) {
      await this.#links.remove(name);
      throw error;
    }
    return this.#links.find(name, operation);
  }

  async putPeer(name: string, peer: TunnelPeerSpec): Promise<void> {
    const operation = "put peer on";
    checkLinkName(name, operation);
    await this.#ask(operation, name, WG_CMD.SET_DEVICE, encodePeer(name, peer, operation));
  }

  async removePeer(name: string, publicKey: string): Promise<boolean> {
    const operation = "remove peer from";
    checkLinkName(name, operation);
    // The kernel does not say whether there was one.
    const tunnel = await this.get(name);
    if (tunnel?.peers.some((peer) => peer.publicKey === publicKey) !== true) return false;
    await this.#ask(operation, name, WG_CMD.SET_DEVICE, encodeRemoval(name, publicKey, operation));
    return true;
  }

  [Symbol.dispose](): void {
    this.#generic?.[Symbol.dispose]();
  }

  async #ask(operation: string, device: string, command: number, attributes: Buffer): Promise<readonly Buffer[]> {
    const type = await this.#resolve(operation, device);
    const request: Request = { operation, device, type, payload: genericMessage(command, attributes) };
    const answers = await (command === WG_CMD.GET_DEVICE ? this.#requests.dump(request) : this.#requests.send(request));
    return answers.map((answer) => answer.subarray(GENERIC_HEADER_LENGTH));
  }

  async #resolve(operation: string, device?: string): Promise<number> {
    if (this.#family !== undefined) return this.#family;
    const subject = { operation, ...(device !== undefined && { device }) };
    this.#family = await genericFamily(this.#requests, "wireguard", subject);
    if (this.#family !== undefined) return this.#family;
    const detail = "this kernel has no WireGuard: neither built in, nor as the module wireguard";
    throw new KernelError({ ...subject, code: "ENOTSUP", detail });
  }

  /** Opened when it is needed: most drivers never do. */
  get #requests(): Requests {
    return (this.#generic ??= new Requests({}, Protocol.GENERIC));
  }
}
