// Published ports of one network's services on this host: reserved, translated, and led through the network's bridge to the
// containers of all hosts, under an address of this host's own to which the answers come back.
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import type { Kernel, PortReservation } from "@portolan/kernel";
import { Cidr, PluginError, type Logger } from "@portolan/sdk";
import { StoreAway, type SharedStore } from "@portolan/state";
import { announce, type Announcement } from "../cluster/announce.ts";
import { MESH, portKey, type EndpointEntry, type PortEntry } from "../cluster/keys.ts";
import { claimAddresses, isOwnVip, releaseAddresses } from "../cluster/mesh-address.ts";
import { aliasOf, bridgeName, isOfSwarm, meshMac, meshName, meshPortName } from "../naming.ts";
import type { EndpointRecord, NetworkRecord } from "../records.ts";
import { settlePorts } from "./clashes.ts";
import { meshPorts, meshTable, meshTableOf, type MeshPort } from "./mesh-ruleset.ts";
import { familyOf, removal } from "./ruleset.ts";
import { heldBy, heldByNames, publisherOf } from "./publishers.ts";
import type { Service } from "./service.ts";

export interface MeshParts {
  readonly kernel: Kernel;
  readonly store: SharedStore;
  readonly network: NetworkRecord;
  readonly host: string;
  readonly log: Logger;
  /** Undefined while nobody knows: then everything stays as it is. */
  readonly services: () => readonly Service[] | undefined;
  /** What the cluster says of an address. */
  readonly entry: (address: string) => EndpointEntry | undefined;
  /** Containers of this host, which may have published a port themselves. */
  readonly endpoints: () => readonly EndpointRecord[];
}

export interface MeshState {
  /** As in `8080/tcp`, to the service that it leads to. */
  readonly ports: Readonly<Record<string, string>>;
  /** Why a port does not lead there, or all of them. */
  readonly trouble?: string;
}

const GATHER_MS = 20;
const ALL = ["0.0.0.0", "::"];
const text = ({ protocol, hostPort }: Pick<MeshPort, "protocol" | "hostPort">) => `${hostPort}/${protocol}`;

export class Mesh implements AsyncDisposable {
  readonly #parts: MeshParts;
  readonly #table: string;
  readonly #held = new Map<string, PortReservation>();
  readonly #troubles = new Map<string, string>();
  /** By port that several services of the network claim, the one that the store says has it. */
  readonly #holders = new Map<string, string>();
  #clashes: readonly string[] = [];
  #trouble: string | undefined;
  /** Unknown after a start: an earlier life may have led some. */
  #led: readonly MeshPort[] | undefined;
  /** A swarm's services, as their virtual addresses are led. */
  #balanced: readonly Service[] = [];
  /** This host's own in the network, as it claimed them; undefined while it has none for certain. */
  #addresses: readonly string[] | undefined;
  #written: string | undefined;
  /** Unknown after a start: an earlier life may have left it. */
  #isDown = false;
  #pass: Promise<void> | undefined;
  #due = false;
  #closed = false;

  constructor(parts: MeshParts) {
    this.#parts = parts;
    this.#table = meshTableOf(parts.network.id);
  }

  get state(): MeshState {
    const ports = Object.fromEntries((this.#led ?? []).map((port) => [text(port), port.service]));
    const trouble = this.#trouble ?? [...this.#troubles.values()][0] ?? this.#clashes[0];
    return { ports, ...(trouble !== undefined && { trouble }) };
  }

  update(): void {
    this.#due = true;
    if (this.#pass || this.#closed) return;
    this.#pass = this.#passes().finally(() => {
      this.#pass = undefined;
    });
  }

  async settled(): Promise<void> {
    while (this.#pass) await this.#pass;
  }

  /** What the cluster says of all addresses for services: by address, its entry. */
  replaced(vips: ReadonlyMap<string, unknown>): void {
    for (const address of this.#addresses ?? []) this.changed(address, vips.get(address));
  }

  /** @returns whether it is one of this host's own, and is no more */
  changed(address: string, value: unknown): boolean {
    if (this.#addresses?.includes(address) !== true || isOwnVip(value, this.#parts.host)) return false;
    this.#addresses = undefined;
    return true;
  }

  /** Others may have taken away what this host has. */
  async compare(): Promise<void> {
    if (!(await this.#isThere())) {
      this.#written = undefined;
      this.#led = [];
    }
    this.update();
    await this.settled();
  }

  #isThere(): Promise<boolean> {
    return this.#parts.kernel.nftables.list(`list chain ${this.#table} published`).then(
      () => true,
      () => false,
    );
  }

  /** Stops following; what is led is led on, and after the next start held again. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await this.settled();
    this.#giveBack();
  }

  async #passes(): Promise<void> {
    while (this.#due && !this.#closed) {
      await sleep(GATHER_MS);
      this.#due = false;
      try {
        await this.#bring();
        this.#trouble = undefined;
      } catch (error) {
        const { message } = PluginError.from(error);
        if (message !== this.#trouble)
          this.#parts.log.error("could not lead published ports, and will try again", {
            network: this.#parts.network.id,
            err: error,
          });
        this.#trouble = message;
      }
    }
  }

  async #bring(): Promise<void> {
    const { kernel, store, network, host } = this.#parts;
    const services = this.#parts.services();
    if (!services) return;
    const ports = await this.#settle(meshPorts(services));
    const balanced = isOfSwarm(network.id) ? services : [];
    if (ports.length + balanced.length === 0) {
      if (this.#isDown) return;
      await removeMesh(kernel, network);
      await this.#forgetFlows(this.#led, []);
      this.#giveBack();
      this.#addresses = undefined;
      await releaseAddresses(store, host, network.name);
      this.#isDown = true;
      return;
    }
    this.#isDown = false;
    // What is known needs no store: it may be away just when somebody took the table.
    const addresses = (this.#addresses ??= await claimAddresses(store, host, network));
    await this.#bringLink(addresses);
    const vips = balanced.flatMap((service) => service.vips);
    await this.#bringVips(vips);
    const announcement = this.#announcement(addresses);
    if (!addresses.every((address) => isDeepStrictEqual(this.#parts.entry(address), announcement.entry)))
      await announce(store, announcement);
    const led = await this.#reserve(ports);
    const links = { bridge: bridgeName(network.id), far: meshName(network.id) };
    const table = meshTable(this.#table, links, addresses, led, balanced);
    const before = this.#led ?? ((await this.#isThere()) ? undefined : []);
    const balancedBefore = this.#written === undefined ? undefined : this.#balanced;
    if (table !== this.#written) await kernel.nftables.run(table);
    this.#written = table;
    this.#led = led;
    this.#balanced = balanced;
    await this.#forgetFlows(before, led);
    await this.#forgetServiceFlows(balancedBefore, balanced);
  }

  /** Leaves each port to one service: of several, to the one that the store says has it. While it is away, what it said last counts. */
  async #settle(claimed: readonly MeshPort[]): Promise<readonly MeshPort[]> {
    const { log, network } = this.#parts;
    const settle = () => settlePorts(claimed, text, (name) => this.#holders.get(name));
    for (const { what } of settle().clashes) {
      const port = claimed.find((each) => text(each) === what);
      if (port) await this.#askForHolder(port);
    }
    const { kept, clashes } = settle();
    const sentences = clashes.map(({ sentence }) => sentence);
    for (const clash of sentences) if (!this.#clashes.includes(clash)) log.warn(clash, { network: network.id });
    this.#clashes = sentences;
    return kept;
  }

  async #askForHolder(port: MeshPort): Promise<void> {
    const { store, network } = this.#parts;
    const { protocol, hostPort, containerPort } = port;
    try {
      const found = await store.get(portKey(`${hostPort}:${containerPort}/${protocol}`));
      const holder = found?.value as Partial<PortEntry> | null | undefined;
      if (holder?.network === network.name && holder.service !== undefined)
        this.#holders.set(text(port), holder.service);
      else this.#holders.delete(text(port));
    } catch (error) {
      if (!(error instanceof StoreAway)) throw error;
    }
  }

  async #bringLink(addresses: readonly string[]): Promise<void> {
    const { kernel, network, host } = this.#parts;
    const { id, mtu } = network;
    const [port, far, mac, alias] = [meshPortName(id), meshName(id), meshMac(network.name, host), aliasOf(id)];
    let near = await kernel.links.get(port);
    if (!near) {
      const peer = { name: far, mac };
      near = await kernel.links.createVeth({ name: port, alias, master: bridgeName(id), up: true, mtu, peer });
    }
    // Its bridge may be a new one, under the same name; and the kernel takes the alias in a second message.
    const bridge = await kernel.links.get(bridgeName(id));
    if (near.master !== bridge?.index || near.alias !== alias)
      await kernel.links.change(port, { master: bridgeName(id), alias });
    // It hardly ever sends: the bridge would forget it after five minutes, and give all containers the answers to one.
    await kernel.stations.put(near, { mac });
    for (const [path, value] of [
      // The network is behind its bridge, and answers come in here.
      [`net/ipv4/conf/${far}/rp_filter`, "2"],
      [`net/ipv6/conf/${far}/accept_ra`, "0"],
      // This host reaches the ports at 127.0.0.1, too; what containers send there is dropped.
      [`net/ipv4/conf/${bridgeName(id)}/route_localnet`, "1"],
      ...(addresses.some((address) => address.includes(":")) ? [["net/ipv6/conf/all/forwarding", "1"] as const] : []),
    ] as const) {
      if ((await kernel.sysctls.get(path)) !== undefined) await kernel.sysctls.set(path, value);
    }
    const link = await kernel.links.get(far);
    if (link?.up !== true || link.alias !== alias || link.mtu !== mtu)
      await kernel.links.change(far, { up: true, alias, mtu });
    for (const address of addresses) {
      await kernel.addresses.add(far, `${address}/${address.includes(":") ? 128 : 32}`);
      // For want of an address there that it may ask from, the kernel would solicit no neighbour.
      if (address.includes(":")) await kernel.addresses.add(bridgeName(id), `${address}/128`);
    }
  }

  /** Whoever asks for a service's address is answered by its own host, which has it, and by no other. */
  async #bringVips(vips: readonly string[]): Promise<void> {
    const { kernel, network } = this.#parts;
    if (!isOfSwarm(network.id)) return;
    const bridge = bridgeName(network.id);
    const wanted = vips.map((vip) => `${vip}/${familyOf(vip) === 4 ? 32 : 128}`);
    const there = await kernel.addresses.list(bridge);
    for (const cidr of there)
      if (isVip(cidr, network) && !wanted.includes(cidr)) await kernel.addresses.remove(bridge, cidr);
    for (const cidr of wanted) if (!there.includes(cidr)) await kernel.addresses.add(bridge, cidr);
  }

  /** @returns those that are held: what another program of this host has is its own */
  async #reserve(ports: readonly MeshPort[]): Promise<readonly MeshPort[]> {
    const wanted = new Set(ports.map(text));
    for (const [name, reservation] of this.#held) {
      if (wanted.has(name)) continue;
      reservation[Symbol.dispose]();
      this.#held.delete(name);
    }
    for (const name of this.#troubles.keys()) if (!wanted.has(name)) this.#troubles.delete(name);
    const led: MeshPort[] = [];
    for (const port of ports) {
      const name = text(port);
      try {
        if (!this.#held.has(name)) {
          const { protocol, hostPort: first } = port;
          this.#held.set(name, await this.#parts.kernel.ports.reserve({ protocol, addresses: ALL, first }));
        }
        this.#troubles.delete(name);
        led.push(port);
      } catch (error) {
        const publisher = publisherOf(port, this.#parts.endpoints());
        const message = publisher ? heldBy(port, publisher) : (heldByNames(port) ?? PluginError.from(error).message);
        if (this.#troubles.get(name) !== message)
          this.#parts.log.error("could not publish a port of a service on this host, and will retry", {
            network: this.#parts.network.id,
            err: error,
          });
        this.#troubles.set(name, message);
      }
    }
    return led;
  }

  /**
   * Of connections to containers that are no more a port's, and of UDP clients that asked before there was one: as long as
   * they go on asking, Linux would go on leading them to this host itself. @param before undefined when nobody knows what was led
   */
  async #forgetFlows(before: readonly MeshPort[] | undefined, led: readonly MeshPort[]): Promise<void> {
    const { conntrack } = this.#parts.kernel;
    const among = (ports: readonly MeshPort[] | undefined, port: MeshPort) =>
      ports?.find((each) => text(each) === text(port));
    const isFresh = (port: MeshPort) => {
      const had = families(among(before, port));
      return port.protocol === "udp" && before !== undefined && [...families(port)].some((family) => !had.has(family));
    };
    await conntrack.forget({ protocol: "udp", ports: led.filter(isFresh).map(({ hostPort }) => hostPort) });
    const fewer = led.filter((port) => {
      const old = among(before, port);
      return !old || old.targets.some((target) => !port.targets.includes(target));
    });
    const gone = (before ?? []).filter((port) => !among(led, port)).map((port) => ({ ...port, targets: [] }));
    const flows = [...fewer, ...gone].map(({ protocol, hostPort: port, targets: to }) => ({ protocol, port, to }));
    if (flows.length > 0) await conntrack.forgetLed(flows);
  }

  /** Likewise of connections to a swarm's services; those to a task that is about to end go on until its container has gone. */
  async #forgetServiceFlows(before: readonly Service[] | undefined, now: readonly Service[]): Promise<void> {
    // A fresh one may have the address of another network's that has gone, and its clients those of that one's.
    const fewer = now.filter((service) => {
      const old = before?.find(({ name }) => name === service.name);
      const kept = connectedTo(service);
      return !old || connectedTo(old).some((target) => !kept.includes(target));
    });
    const flows = fewer.flatMap((service) => service.vips.map((address) => ({ address, to: connectedTo(service) })));
    if (flows.length > 0) await this.#parts.kernel.conntrack.forgetLed(flows);
  }

  #giveBack(): void {
    for (const reservation of this.#held.values()) reservation[Symbol.dispose]();
    this.#held.clear();
    this.#troubles.clear();
    this.#written = undefined;
    this.#led = [];
    this.#balanced = [];
  }

  #announcement(addresses: readonly string[]): Announcement {
    const { network, host } = this.#parts;
    const entry: EndpointEntry = { host, endpoint: MESH, mac: meshMac(network.name, host) };
    return { network: network.name, addresses, entry };
  }
}

/** Of the containers that a port leads to. */
const families = (port: MeshPort | undefined) => new Set(port?.targets.map(familyOf));
/** The containers that may have connections of the service's. */
const connectedTo = ({ targets, ending = [] }: Service): readonly string[] => [...targets, ...ending];

/** Takes away what a network's published ports have made on this host. @throws KernelError */
export async function removeMesh(
  kernel: Kernel,
  network: Pick<NetworkRecord, "id" | "ownGateway" | "serviceRanges" | "subnets">,
): Promise<void> {
  const { id, serviceRanges = [] } = network;
  await kernel.nftables.run(removal(meshTableOf(id)));
  await kernel.links.remove(meshPortName(id));
  const bridge = bridgeName(id);
  if (!(await kernel.links.get(bridge))) return;
  const isOurs = (cidr: string) => serviceRanges.some((range) => Cidr.parse(range).contains(Cidr.parse(cidr).address));
  for (const cidr of await kernel.addresses.list(bridge))
    if (isOurs(cidr) || isVip(cidr, network)) await kernel.addresses.remove(bridge, cidr);
  // What containers publish themselves needs it, too.
  if (network.ownGateway === true) return;
  const path = `net/ipv4/conf/${bridge}/route_localnet`;
  if ((await kernel.sysctls.get(path)) === "1") await kernel.sysctls.set(path, "0");
}

/** The bridge has its gateways with the subnet's prefix length, and a swarm's virtual addresses each alone. */
function isVip(cidr: string, { id, subnets }: Pick<NetworkRecord, "id" | "subnets">): boolean {
  const { address, prefix, family } = Cidr.parse(cidr);
  const isAlone = prefix === (family === 4 ? 32 : 128);
  return isOfSwarm(id) && isAlone && subnets.some((subnet) => Cidr.parse(subnet).contains(address));
}
