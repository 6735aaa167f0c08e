// Sandboxes by the files that dockerd keeps them at, and a socket of our own inside for the time that one is open.
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { readFile, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { Protocol, rt } from "netlink";
import { NetlinkConntrack } from "../conntrack.ts";
import { KernelError, systemCode } from "../kernel-error.ts";
import { checkLinkName } from "../link-name.ts";
import { openNetlinkSocket } from "../netlink-socket.ts";
import { inNetworkNamespace } from "../network-namespace.ts";
import { NftablesByLibrary } from "../nftables/nftables.ts";
import type { Sandbox, Sandboxes } from "../sandboxes.ts";
import { RtAddresses } from "./addresses.ts";
import { encodeLink } from "./link-message.ts";
import { RtLinks } from "./links.ts";
import { Requests } from "./requests.ts";
import { RtRoutes } from "./routes.ts";
import { RtShaping } from "./shaping.ts";

/** NSFS_MAGIC of include/uapi/linux/magic.h. */
const NSFS = 0x6e736673;
/** A bit of the sets in /proc/self/status, by include/uapi/linux/capability.h. */
const CAP_SYS_ADMIN = 21n;
/** Where a managed plugin has the host's /run/docker. */
const HOST = "/host/run/docker";
/** Where it may write settings: not in its own /proc. */
const HOST_SETTINGS = "/host/proc/sys/net";

export class RtSandboxes implements Sandboxes {
  readonly #requests: Requests;

  /** @param requests to the host's own namespace */
  constructor(requests: Requests) {
    this.#requests = requests;
  }

  async exists(path: string): Promise<boolean | undefined> {
    const file = placeOf(path);
    try {
      return (await statfs(file)).type === NSFS;
    } catch (error) {
      const code = systemCode(error);
      if (code === "ENOENT" || code === "ENOTDIR") return existsSync(dirname(file)) ? false : undefined;
      throw new KernelError({ operation: "look for sandbox", device: path, code: code ?? "EIO", cause: error });
    }
  }

  async mayOpen(): Promise<boolean> {
    const [, effective = "0"] = /^CapEff:\s*([\da-f]+)$/m.exec(await readFile("/proc/self/status", "utf8")) ?? [];
    return ((BigInt(`0x${effective}`) >> CAP_SYS_ADMIN) & 1n) === 1n;
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- a refusal is a rejection, as everywhere
  async open(path: string): Promise<Sandbox> {
    const file = placeOf(path);
    const inside = (protocol: Protocol) => inNetworkNamespace(file, () => openNetlinkSocket(protocol));
    const requests = new Requests({}, undefined, inside);
    const links = new RtLinks(requests);
    // What few callers need is opened when it is asked for; the library's socket stays in the namespace where it was opened.
    let nftables: NftablesByLibrary | undefined;
    let tracking: Requests | undefined;
    return {
      links,
      addresses: new RtAddresses(requests, links),
      routes: new RtRoutes(requests, links),
      shaping: new RtShaping(requests, links),
      get nftables() {
        return (nftables ??= inNetworkNamespace(file, () => new NftablesByLibrary()));
      },
      get conntrack() {
        tracking ??= new Requests({}, Protocol.NETFILTER, inside);
        return new NetlinkConntrack(tracking);
      },
      setIPv6: (link, isOn) => Promise.resolve().then(() => setIPv6(file, link, isOn)),
      take: (link, name) => this.#take(file, link, name),
      async [Symbol.asyncDispose]() {
        requests[Symbol.dispose]();
        tracking?.[Symbol.dispose]();
        await nftables?.[Symbol.asyncDispose]();
      },
    };
  }

  async #take(file: string, link: string, name: string): Promise<void> {
    const operation = "move into sandbox link";
    checkLinkName(link, operation);
    checkLinkName(name, operation);
    const { index } = await new RtLinks(this.#requests).find(link, operation);
    const netNsFd = openSync(file, "r");
    try {
      const payload = encodeLink({ index, attributes: { netNsFd, ifname: name } });
      await this.#requests.send({ operation, device: link, type: rt.MessageType.SETLINK, payload });
    } finally {
      closeSync(netNsFd);
    }
  }
}

/** /proc/sys/net is that of whoever opens it. */
function setIPv6(file: string, link: string, isOn: boolean): void {
  const operation = "switch IPv6 of";
  checkLinkName(link, operation);
  const settings = existsSync(HOST_SETTINGS) ? HOST_SETTINGS : "/proc/sys/net";
  const setting = `${settings}/ipv6/conf/${link}/disable_ipv6`;
  const value = isOn ? "0" : "1";
  try {
    inNetworkNamespace(file, () => {
      if (existsSync(setting) && readFileSync(setting, "utf8").trim() !== value) writeFileSync(setting, value);
    });
  } catch (error) {
    if (error instanceof KernelError) throw error;
    throw new KernelError({ operation, device: link, code: systemCode(error) ?? "EIO", cause: error });
  }
}

function placeOf(path: string): string {
  return existsSync(HOST) ? path.replace(/^(\/var)?\/run\/docker\//, `${HOST}/`) : path;
}
