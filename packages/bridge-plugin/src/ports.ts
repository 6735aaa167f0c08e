// Published ports: reserved with sockets, recorded, led to the container by the firewall's maps, and taken back.
import { isKernelError, type Kernel, type PortReservation } from "@portolan/kernel";
import { PluginError, Undo, type EndpointId, type KeyedLocks, type Logger } from "@portolan/sdk";
import type { Firewall } from "./firewall.ts";
import { FreePorts } from "./free-ports.ts";
import { besideSignal, lockBeside } from "./lock-keys.ts";
import { portName } from "./naming.ts";
import { refusal, rivalsOf } from "./port-conflicts.ts";
import { portElements, portLayout } from "./port-elements.ts";
import { satisfies, type PortWish } from "./ports-plan.ts";
import type { EndpointRecord, PortRecord, Records } from "./records.ts";

export interface PortsParts {
  readonly kernel: Kernel;
  readonly firewall: Firewall;
  readonly records: Records;
  /** The server's: an endpoint whose ports are taken away must not be anybody else's work. */
  readonly locks: KeyedLocks;
  readonly log: Logger;
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
  async publish(endpoint: EndpointRecord, wishes: readonly PortWish[]): Promise<void> {
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
    const { ports: _none, ...rest } = this.#parts.records.endpoint(id) ?? endpoint;
    const record = { ...rest, ports: held.map(({ port }) => port) };
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
      const { ports, ...rest } = endpoint;
      // First the record: whoever installs the whole table meanwhile no longer finds the ports.
      await records.putEndpoint(rest);
      await firewall.withdraw(portElements(endpoint));
      await this.#forgetFlows(ports);
    }
    for (const { reservation } of this.#held.get(id) ?? []) reservation[Symbol.dispose]();
    this.#held.delete(id);
    this.#troubles.delete(id);
  }

  /** Endpoints with recorded ports that this process does not hold: at the start, or since somebody else has one. */
  get incomplete(): readonly EndpointRecord[] {
    return this.#parts.records.endpoints.filter(
      ({ id, progress, ports = [] }) => progress === "made" && ports.length > (this.#held.get(id)?.length ?? 0),
    );
  }

  /**
   * Holds what the records promise. A container whose link is gone is gone as well, and after a reboot they all are:
   * what replaces it wants its ports. Never fails: what could not be held is tried again later.
   */
  async restore(id: EndpointId): Promise<void> {
    const { kernel, records } = this.#parts;
    const endpoint = records.endpoint(id);
    if (endpoint?.progress !== "made" || !endpoint.ports) return;
    try {
      if (await kernel.links.get(portName(id))) await this.#holdAgain(endpoint);
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

  async #reserveAll(own: EndpointRecord, wishes: readonly PortWish[], undo: Undo): Promise<readonly Held[]> {
    const held: Held[] = [];
    for (const wish of wishes) {
      const { protocol, containerPort, hostAddresses } = wish;
      const reservation = await this.#reserve(own, wish);
      undo.add(`release port ${reservation.port}/${protocol}`, () => reservation[Symbol.dispose]());
      held.push({ reservation, port: { protocol, containerPort, hostAddresses, hostPort: reservation.port } });
    }
    return held;
  }

  async #reserve(own: EndpointRecord, wish: PortWish): Promise<PortReservation> {
    const { records, kernel } = this.#parts;
    const { ports } = kernel;
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
      throw isKernelError(error) ? refusal(wish, error, records.endpoints) : error;
    }
    throw new PluginError("all ports are allocated", {
      hint: "Widen net.ipv4.ip_local_port_range, or name a host port.",
    });
  }

  /** A container that ended while this driver was away never gave its ports back. @returns whether any are free now */
  async #takeFromTheDead(own: EndpointRecord, wish: PortWish): Promise<boolean> {
    const { kernel, records, locks, log } = this.#parts;
    let taken = false;
    for (const rival of rivalsOf(wish, records.endpoints)) {
      const { id, network } = rival;
      if (await kernel.links.get(portName(id))) continue;
      const take = async () => {
        // Meanwhile it may have given them back itself, or even live again.
        if (!records.endpoint(id)?.ports || (await kernel.links.get(portName(id)))) return;
        log.warn("taking back the ports of an endpoint that has gone with its container", { network, endpoint: id });
        await this.unpublish(id);
      };
      await locks.run(lockBeside(own, rival), `ports of ${own.id}`, take, besideSignal());
      taken = true;
    }
    return taken;
  }

  /** A port that somebody else has taken meanwhile is no reason to break what goes on answering through the firewall. */
  async #holdAgain(endpoint: EndpointRecord): Promise<void> {
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
  async #lead(endpoint: EndpointRecord, undo: Undo): Promise<void> {
    const { kernel, firewall, records } = this.#parts;
    const elements = portElements(endpoint);
    undo.add("take the port mappings back", () => firewall.withdraw(elements));
    await records.putEndpoint(endpoint);
    undo.add("forget the ports", async () => {
      const { ports: _withdrawn, ...rest } = endpoint;
      await records.putEndpoint(rest);
    });
    await letHairpin(kernel, endpoint);
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

  #troubleTexts(id: EndpointId): readonly string[] {
    return [...(this.#troubles.get(id)?.values() ?? [])];
  }

  #warn({ id, network }: EndpointRecord, error: unknown): void {
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
async function startRelays({ reservation, port }: Held, endpoint: EndpointRecord): Promise<void> {
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
export async function letHairpin(kernel: Kernel, { id }: EndpointRecord): Promise<void> {
  await kernel.links.changePort(portName(id), { hairpin: true });
}

function unlessInUse(error: unknown): undefined {
  if (!isKernelError(error, "EADDRINUSE")) throw error;
}
