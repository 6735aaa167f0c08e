// A kernel in memory with the interface and the refusals of the real one, for tests of drivers without root.
import type { BridgePortChange, ForwardAccept, Kernel } from "../kernel.ts";
import { FakeConntrack } from "./fake-conntrack.ts";
import { FakeAddresses, FakeRoutes } from "./fake-addresses.ts";
import { FakeForwardAccept } from "./fake-forward-accept.ts";
import { FakeHost, type FakeHostOptions } from "./fake-host.ts";
import { FakeLinks } from "./fake-links.ts";
import { FakeNeighbours, FakeStations } from "./fake-neighbours.ts";
import { FakeNftables } from "./fake-nftables.ts";
import { FakePorts } from "./fake-ports.ts";
import { FakeSandboxes } from "./fake-sandboxes.ts";
import { FakeShaping } from "./fake-shaping.ts";
import { FakeStackedLinks } from "./fake-stacked-links.ts";
import { FakeSysctls } from "./fake-sysctls.ts";
import { FakeTunnels } from "./fake-tunnels.ts";

export type FakeKernelOptions = FakeHostOptions;

export class FakeKernel implements Kernel {
  readonly links: FakeLinks;
  readonly stackedLinks: FakeStackedLinks;
  readonly sandboxes: FakeSandboxes;
  readonly addresses: FakeAddresses;
  readonly routes: FakeRoutes;
  readonly neighbours: FakeNeighbours;
  readonly stations: FakeStations;
  readonly nftables: FakeNftables;
  readonly sysctls: FakeSysctls;
  readonly forwardAccept: ForwardAccept;
  readonly ports: FakePorts;
  readonly conntrack: FakeConntrack;
  readonly shaping: FakeShaping;
  readonly tunnels: FakeTunnels;
  readonly #host: FakeHost;

  constructor(options: FakeKernelOptions = {}) {
    const host = new FakeHost(options);
    this.#host = host;
    this.links = new FakeLinks(host);
    this.stackedLinks = new FakeStackedLinks(host);
    this.sandboxes = new FakeSandboxes(host);
    this.addresses = new FakeAddresses(host, this.links);
    this.routes = new FakeRoutes(host);
    this.neighbours = new FakeNeighbours(host);
    this.stations = new FakeStations(host);
    this.nftables = new FakeNftables(host);
    this.sysctls = new FakeSysctls(host);
    this.forwardAccept = new FakeForwardAccept(host, this.nftables);
    this.ports = new FakePorts(host);
    this.conntrack = new FakeConntrack(host);
    this.shaping = new FakeShaping(host);
    this.tunnels = new FakeTunnels(host);
  }

  /** The steps that changed something so far, as in `create bridge pt-abc`. */
  get steps(): readonly string[] {
    return this.#host.steps;
  }

  /** How a bridge port was set; undefined when there is no such link. */
  port(name: string): Required<BridgePortChange> | undefined {
    const link = this.#host.links.get(name);
    return link && { ...link.port };
  }

  /** What dockerd does with the link a driver names: it moves into a sandbox, out of our sight. */
  moveToSandbox(name: string, path = "/run/netns/fake"): void {
    const link = this.#mustFind(name);
    const peer = this.#host.linkByIndex(link.peer);
    if (link.stacking) this.#host.moveInto(path, link);
    else {
      this.#host.dropLink(link);
      this.#host.sandboxAt(path);
    }
    if (peer?.kind === "veth") peer.peerElsewhere = true;
  }

  /** The sandbox ends, and takes the veth with it of which `name` is the near end. */
  endSandboxOf(name: string): void {
    this.#host.dropLink(this.#mustFind(name));
  }

  /** What dockerd does with a stacked link when its container ends: back under its name, and the sandbox after the last. */
  moveHome(name: string): void {
    for (const [path, inside] of this.#host.sandboxes) {
      const link = inside.links.values().find((each) => each.homeName === name);
      if (!link) continue;
      inside.dropLink(link);
      if (inside.links.size === 1) this.#host.sandboxes.delete(path);
      link.name = name;
      delete link.isShaped;
      this.#host.links.set(name, link);
    }
  }

  /** The sandbox ends, with the stacked links in it. */
  endSandbox(path: string): void {
    this.#host.sandboxes.delete(path);
  }

  /** A link of hardware: nobody can make it, and nobody can remove it but whoever pulls it out. */
  plugIn(name: string, properties: { readonly mac?: string; readonly mtu?: number; readonly up?: boolean } = {}): void {
    const { mac = "52:54:00:00:00:01", mtu = 1500, up = true } = properties;
    this.#host.addLink({ name, kind: "", mac, mtu, up });
    this.#host.tellWatchers();
  }

  /** With everything that hangs on it. */
  pullOut(name: string): void {
    const link = this.#mustFind(name);
    this.#host.dropLink(link);
    this.#host.dropStackedOn(link);
    this.#host.tellWatchers();
  }

  rename(name: string, to: string): void {
    const link = this.#mustFind(name);
    this.#host.dropLink(link);
    link.name = to;
    this.#host.links.set(to, link);
    this.#host.tellWatchers();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#host.close();
    return Promise.resolve();
  }

  #mustFind(name: string) {
    const link = this.#host.links.get(name);
    if (!link) throw new Error(`the fake kernel has no link ${name}`);
    return link;
  }
}
