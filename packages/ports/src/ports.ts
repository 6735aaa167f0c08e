// Published ports: reserved with sockets, recorded, led to the container by the firewall's maps, and taken back.
import { isKernelError, type Kernel, type PortReservation } from "@portolan/kernel";
import {
  besideSignal,
  lockBeside,
  PluginError,
  Undo,
  type EndpointId,
  type KeyedLocks,
  type Logger,
} from "@portolan/sdk";
import { refusal, rivalsOf, type Holders } from "./conflicts.ts";
import { portElements, portLayout, type PortElement } from "./elements.ts";
import { FreePorts } from "./free-ports.ts";
import { satisfies, type PortWish } from "./plan.ts";
import type { PortRecord, PortRecords, PublishingEndpoint } from "./records.ts";

/** A driver's table, as far as ports go. Elements that are there already, or gone, are no error. */
interface PortMaps {
  /** For what is recorded already: a table that is gone comes back with all that the records tell. */
  publish(elements: readonly PortElement[]): Promise<void>;
  /** For what is recorded no longer. */
  withdraw(elements: readonly PortElement[]): Promise<void>;
}

export interface PortsParts {
  readonly kernel: Kernel;
  readonly firewall: PortMaps;
  readonly records: PortRecords;
  /** The server's: an endpoint whose ports are taken away must not be anybody else's work. */
  readonly locks: KeyedLocks;
  readonly log: Logger;
  /** An endpoint's port of the bridge: gone when its container is. */
  readonly linkOf: (endpoint: EndpointId) => string;
  readonly command: Holders["command"];
  readonly holderOf?: Holders["holderOf"];
}

interface Held {
  readonly reservation: PortReservation;
  readonly port: PortRecord;
}

export class Ports {
  readonly #parts: PortsParts;
  readonly #free: FreePorts;
  /** What this process holds, by endpoint. After a start it is taken again from the records. */
  readonly #held = new Map<EndpointId, readonly Held[]>();
  /** Why a recorded port could not be held again, by endpoint and port. */
  readonly #troubles = new Map<EndpointId, ReadonlyMap<PortRecord, string>>();

  constructor(parts: PortsParts) {
    this.#parts = parts;
    this.#free = new FreePorts(parts.kernel.sysctls);
  }

  /** Why another program may answer in the container's place. */
  troubleOf(id: EndpointId, port: PortRecord): string | undefined {
    return this.#troubles.get(id)?.get(port);
  }

  /**
   * All of them or none. What is published already stays as it is.
   * @throws PluginError in Docker's words when a port can't be had
   */
  async publish(endpoint: PublishingEndpoint, wishes: readonly PortWish[]): Promise<void> {
    const { id, ports: before = [] } = endpoint;
    if (before.length > 0 && satisfies(before, wishes)) {
      await this.#holdAgain(endpoint);
      await this.#parts.firewall.publish(portElements(endpoint));
      return;
    }
    await this.unpublish(id);
    if (wishes.length === 0) return;
    await using undo = new Undo();
    const held = await this.#reserveAll(endpoint, wishes, undo);
    const record = { ...endpoint, ports: held.map(({ port }) => port) };
    await this.#lead(record, undo);
    for (const each of held) await startRelays(each, record);
    this.#held.set(id, held);
    undo.commit();
    await this.#forgetFlows(record.ports);
  }

  /** Never fails for what is gone. Must be called before the endpoint's record goes. */
  async unpublish(id: EndpointId): Promise<void> {
    const { firewall, records } = this.#parts;
    const endpoint = records.endpoint(id);
    if (endpoint?.ports) {
      // First the record: whoever installs the whole table meanwhile no longer finds the ports.
      await records.putPorts(id, undefined);
      await firewall.withdraw(portElements(endpoint));
      await this.#forgetFlows(endpoint.ports);
    }
    for (const { reservation } of this.#held.get(id) ?? []) reservation[Symbol.dispose]();
    this.#held.delete(id);
    this.#troubles.delete(id);
  }

  /** Endpoints with recorded ports that this process does not hold: at the start, or since somebody else has one. */
  get incomplete(): readonly PublishingEndpoint[] {
    return this.#parts.records.endpoints.filter(
      ({ id, progress, ports = [] }) => progress === "made" && ports.length > (this.#held.get(id)?.length ?? 0),
    );
  }

  /**
   * Holds what the records promise. A container whose link is gone is gone as well, and after a reboot they all are:
   * what replaces it wants its ports. Never fails: what could not be held is tried again later.
   */
  async restore(id: EndpointId): Promise<void> {
    const { kernel, records, linkOf } = this.#parts;
    const endpoint = records.endpoint(id);
    if (endpoint?.progress !== "made" || !endpoint.ports) return;
    try {
      if (await kernel.links.get(linkOf(id))) await this.#holdAgain(endpoint);
      else await this.unpublish(id);
    } catch (error) {
      this.#warn(endpoint, error);
    }
  }

  /** Gives all ports back; the firewall goes on leading them. */
  [Symbol.dispose](): void {
    for (const { reservation } of [...this.#held.values()].flat()) reservation[Symbol.dispose]();
    this.#held.clear();
  }

  async #reserveAll(own: PublishingEndpoint, wishes: readonly PortWish[], undo: Undo): Promise<readonly Held[]> {
    const held: Held[] = [];
    for (const wish of wishes) {
      const { protocol, containerPort, hostAddresses } = wish;
      const reservation = await this.#reserve(own, wish);
      undo.add(`release port ${reservation.port}/${protocol}`, () => reservation[Symbol.dispose]());
      held.push({ reservation, port: { protocol, containerPort, hostAddresses, hostPort: reservation.port } });
    }
    return held;
  }

  async #reserve(own: PublishingEndpoint, wish: PortWish): Promise<PortReservation> {
    const { ports } = this.#parts.kernel;
    const { protocol, hostAddresses: addresses, first, last } = wish;
    try {
      if (first !== 0) {
        const reserve = () => ports.reserve({ protocol, addresses, first, last });
        return await reserve().catch(async (error: unknown) => {
          if (isKernelError(error, "EADDRINUSE") && (await this.#takeFromTheDead(own, wish))) return reserve();
          throw error;
        });
      }
      for await (const port of this.#free.candidates()) {
        const reservation = await ports.reserve({ protocol, addresses, first: port }).catch(unlessInUse);
        if (!reservation) continue;
        this.#free.taken(port);
        return reservation;
      }
    } catch (error) {
      throw isKernelError(error) ? refusal(wish, error, this.#holders) : error;
    }
    throw new PluginError("all ports are allocated", {
      hint: "Widen net.ipv4.ip_local_port_range, or name a host port.",
    });
  }

  /** A container that ended while this driver was away never gave its ports back. @returns whether any are free now */
  async #takeFromTheDead(own: PublishingEndpoint, wish: PortWish): Promise<boolean> {
    const { kernel, records, locks, log, linkOf } = this.#parts;
    let taken = false;
    for (const rival of rivalsOf(wish, records.endpoints)) {
      const { id, network } = rival;
      if (await kernel.links.get(linkOf(id))) continue;
      const take = async () => {
        // Meanwhile it may have given them back itself, or even live again.
        if (!records.endpoint(id)?.ports || (await kernel.links.get(linkOf(id)))) return;
        log.warn("taking back the ports of an endpoint that has gone with its container", { network, endpoint: id });
        await this.unpublish(id);
      };
      await locks.run(lockBeside(own, rival), `ports of ${own.id}`, take, besideSignal());
      taken = true;
    }
    return taken;
  }

  /** A port that somebody else has taken meanwhile is no reason to break what goes on answering through the firewall. */
  async #holdAgain(endpoint: PublishingEndpoint): Promise<void> {
    const before = this.#held.get(endpoint.id) ?? [];
    const troubles = new Map<PortRecord, string>();
    const held: Held[] = [];
    for (const port of endpoint.ports ?? []) {
      const { protocol, hostAddresses: addresses, hostPort: first } = port;
      const still = before.find((each) => satisfies([each.port], [{ ...port, first, last: first }]));
      if (still) {
        held.push(still);
        continue;
      }
      try {
        const reservation = await this.#parts.kernel.ports.reserve({ protocol, addresses, first });
        await startRelays({ reservation, port }, endpoint);
        held.push({ reservation, port });
      } catch (error) {
        const { message } = PluginError.from(error);
        if (!this.#troubleTexts(endpoint.id).includes(message)) this.#warn(endpoint, error);
        troubles.set(port, message);
      }
    }
    if (troubles.size > 0) this.#troubles.set(endpoint.id, troubles);
    else this.#troubles.delete(endpoint.id);
    this.#held.set(endpoint.id, held);
  }

  /** Durable first: from then on every installation of the firewall leads the ports to the container. */
  async #lead(endpoint: PublishingEndpoint, undo: Undo): Promise<void> {
    const { kernel, firewall, records, linkOf } = this.#parts;
    const elements = portElements(endpoint);
    undo.add("take the port mappings back", () => firewall.withdraw(elements));
    await records.putPorts(endpoint.id, endpoint.ports);
    undo.add("forget the ports", () => records.putPorts(endpoint.id, undefined));
    await letHairpin(kernel, linkOf(endpoint.id));
    await firewall.publish(elements);
  }

  /** A client that keeps talking would go on where it went before: to nobody, or to a container that is gone. */
  async #forgetFlows(ports: readonly PortRecord[]): Promise<void> {
    const numbers = ports.filter(({ protocol }) => protocol === "udp").map(({ hostPort }) => hostPort);
    try {
      await this.#parts.kernel.conntrack.forget({ protocol: "udp", ports: numbers });
    } catch (error) {
      this.#parts.log.warn("could not make the kernel forget UDP flows: known clients may wait for a minute", {
        err: error,
      });
    }
  }

  get #holders(): Holders {
    const { records, command, holderOf } = this.#parts;
    return { endpoints: records.endpoints, command, holderOf };
  }

  #troubleTexts(id: EndpointId): readonly string[] {
    return [...(this.#troubles.get(id)?.values() ?? [])];
  }

  #warn({ id, network }: PublishingEndpoint, error: unknown): void {
    this.#parts.log.error("could not hold a published port again, and will retry", {
      network,
      endpoint: id,
      err: error,
    });
  }
}

/**
 * A port without its relays is not held: it is given back, so that all of it can be tried again. To be called when
 * everything else leads to the container already: until then a client's packets are dropped.
 */
async function startRelays({ reservation, port }: Held, endpoint: PublishingEndpoint): Promise<void> {
  try {
    for (const { address, target } of portLayout(port, endpoint).relays) await reservation.relay(address, target);
  } catch (error) {
    reservation[Symbol.dispose]();
    throw error;
  }
}

/**
 * With br_netfilter a packet that a container sends to its own published port never leaves the bridge: it has to go back
 * out where it came in.
 */
export async function letHairpin(kernel: Pick<Kernel, "links">, link: string): Promise<void> {
  await kernel.links.changePort(link, { hairpin: true });
}

function unlessInUse(error: unknown): undefined {
  if (!isKernelError(error, "EADDRINUSE")) throw error;
}
