// Starting, connecting and stopping containers: the calls that dockerd makes for their endpoints, in its order.
import { randomBytes } from "node:crypto";
import type {
  AttachOptions,
  BookContainer,
  BookEndpoint,
  BookNetwork,
  ContainerOptions,
  LinkMove,
  Sandbox,
} from "./book.ts";
import { hasPorts, portsTold } from "./endpoints.ts";
import type { EndpointOwner, Endpoints } from "./endpoints.ts";
import { chooseGateways, needsGwbridge, sorted } from "./gateways.ts";
import { ignoring } from "./networks.ts";
import type { Dockerd, Networks } from "./networks.ts";

/** A link that is to be moved once the container has a namespace. */
interface PendingMove {
  readonly endpoint: BookEndpoint;
  readonly move: LinkMove;
}

export class Containers {
  /** By name, stopped ones included. */
  readonly book = new Map<string, BookContainer>();
  readonly #dockerd: Dockerd;
  readonly #networks: Networks;
  readonly #endpoints: Endpoints;

  constructor(dockerd: Dockerd, networks: Networks, endpoints: Endpoints) {
    this.#dockerd = dockerd;
    this.#networks = networks;
    this.#endpoints = endpoints;
  }

  get(name: string): BookContainer {
    const container = this.book.get(name);
    if (!container) throw new Error(`No such container: ${name}`);
    return container;
  }

  /** The endpoints of running containers on one network. */
  endpointsOn(network: string): BookEndpoint[] {
    const all = [...this.book.values()].flatMap(({ sandbox }) => sandbox?.endpoints ?? []);
    return all.filter((endpoint) => endpoint.network.name === network);
  }

  create(name: string, options: ContainerOptions): BookContainer {
    if (this.book.has(name)) throw new Error(`Conflict. The container name "/${name}" is already in use`);
    const { network = "bridge", ip, ip6, mac, driverOpts, gwPriority } = options;
    const attach = {
      ...(ip !== undefined && { ip }),
      ...(ip6 !== undefined && { ip6 }),
      ...(mac !== undefined && { mac }),
      ...(driverOpts && { driverOpts }),
      ...(gwPriority !== undefined && { gwPriority }),
    };
    const container: BookContainer = { name, options, attachments: new Map([[network, attach]]) };
    this.book.set(name, container);
    return container;
  }

  rename(from: string, to: string): void {
    const container = this.get(from);
    container.name = to;
    this.book.delete(from);
    this.book.set(to, container);
  }

  async start(container: BookContainer): Promise<void> {
    if (container.sandbox) return;
    const { engine } = this.#dockerd;
    const key = `/var/run/docker/netns/${randomBytes(6).toString("hex")}`;
    const sandbox: Sandbox = { key, endpoints: [], gateways: [], gwbridge: false };
    container.sandbox = sandbox;
    const pending: PendingMove[] = [];
    try {
      for (const [name, attach] of container.attachments) {
        const network = this.#networks.get(name);
        pending.push(await this.#connect({ container, sandbox }, network, attach, engine.sandboxBeforeJoin));
      }
      // Before 28 the runtime makes the namespace now, and its prestart hook moves the links.
      if (!engine.sandboxBeforeJoin) {
        for (const { endpoint, move } of pending) await this.#endpoints.attach(endpoint, move);
      }
    } catch (error) {
      await this.stop(container);
      throw new Error(`${engine.startFailure}${(error as Error).message}`, { cause: error });
    }
  }

  /** `docker stop`, `kill`, an exit, or the clean-up of what a crashed dockerd left. */
  async stop(container: BookContainer): Promise<void> {
    const { sandbox } = container;
    if (!sandbox) return;
    for (const endpoint of sorted(this.#dockerd.engine, sandbox.endpoints)) {
      await this.#leave({ container, sandbox }, endpoint);
      await this.#endpoints.delete(endpoint);
    }
    delete container.sandbox;
  }

  async connect(container: BookContainer, network: BookNetwork, attach: AttachOptions): Promise<void> {
    if (container.attachments.has(network.name)) {
      throw new Error(`endpoint with name ${container.name} already exists in network ${network.name}`);
    }
    const { sandbox } = container;
    if (sandbox) await this.#connect({ container, sandbox }, network, attach, true);
    container.attachments.set(network.name, attach);
  }

  async disconnect(container: BookContainer, network: BookNetwork): Promise<void> {
    if (!container.attachments.has(network.name)) {
      throw new Error(`container ${container.name} is not connected to network ${network.name}`);
    }
    const { sandbox } = container;
    const endpoint = sandbox?.endpoints.find((one) => one.network === network);
    if (sandbox && endpoint) {
      await this.#leave({ container, sandbox }, endpoint);
      await this.#askForPorts({ container, sandbox });
      await this.#endpoints.delete(endpoint);
    }
    container.attachments.delete(network.name);
  }

  /** The container is gone with its namespace, and dockerd has yet to find out. */
  async loseLinks({ sandbox }: BookContainer): Promise<void> {
    for (const endpoint of sandbox?.endpoints ?? []) await this.#endpoints.lose(endpoint);
  }

  /** 28 asks every endpoint of a container that lived through dockerd's restart. */
  async askAfterLiveRestore(container: BookContainer): Promise<void> {
    const { sandbox } = container;
    if (sandbox) await this.#askForPorts({ container, sandbox });
  }

  async #connect(
    owner: EndpointOwner,
    network: BookNetwork,
    attach: AttachOptions,
    moveNow: boolean,
  ): Promise<PendingMove> {
    const { sandbox } = owner;
    await this.#askForPorts(owner);
    const endpoint = await this.#endpoints.create(owner, network, attach);
    let move: LinkMove;
    try {
      move = await this.#endpoints.join(endpoint, owner);
    } catch (error) {
      await this.#endpoints.delete(endpoint);
      throw error;
    }
    sandbox.endpoints.push(endpoint);
    try {
      if (moveNow) await this.#endpoints.attach(endpoint, move);
      await this.#moveGateway(owner, endpoint);
    } catch (error) {
      remove(sandbox, endpoint);
      await this.#endpoints.leave(endpoint);
      await this.#endpoints.delete(endpoint);
      throw error;
    }
    try {
      if (this.#dockerd.engine.infoAtJoin) await this.#askAtJoin(owner, endpoint);
    } catch (error) {
      await this.#leave(owner, endpoint);
      await this.#endpoints.delete(endpoint);
      throw new Error(`Updating join info failed: ${(error as Error).message}`, { cause: error });
    }
    await this.#askForPorts(owner);
    return { endpoint, move };
  }

  /** Hands the default route to the endpoint that should now have it, after one has joined. */
  async #moveGateway(owner: EndpointOwner, joined: BookEndpoint): Promise<void> {
    const { engine, log } = this.#dockerd;
    const { container, sandbox } = owner;
    const former = sandbox.gateways;
    sandbox.gateways = chooseGateways(engine, sandbox.endpoints);
    sandbox.gwbridge = needsGwbridge(engine, sandbox.endpoints);
    const lost = former.filter((endpoint) => !sandbox.gateways.includes(endpoint));
    for (const endpoint of lost) await this.#endpoints.revoke(endpoint);
    try {
      if (sandbox.gateways.includes(joined)) await this.#endpoints.program(joined, owner);
    } catch (error) {
      sandbox.gateways = former;
      for (const endpoint of lost) await ignoring(log, this.#endpoints.program(endpoint, owner));
      const which = `endpoint ${container.name} (${joined.id})`;
      throw new Error(`driver failed programming external connectivity on ${which}: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  async #leave(owner: EndpointOwner, endpoint: BookEndpoint): Promise<void> {
    const { engine, log } = this.#dockerd;
    const { sandbox } = owner;
    const former = sandbox.gateways;
    if (former.includes(endpoint)) await ignoring(log, this.#endpoints.revoke(endpoint));
    await this.#endpoints.leave(endpoint);
    remove(sandbox, endpoint);
    sandbox.gateways = chooseGateways(engine, sandbox.endpoints);
    sandbox.gwbridge = needsGwbridge(engine, sandbox.endpoints);
    for (const next of sandbox.gateways) {
      if (!former.includes(next)) await ignoring(log, this.#endpoints.program(next, owner));
    }
  }

  /** dockerd's search for published ports. What a remote driver answers, it cannot read (daemon/network.go, all engines). */
  async #askForPorts({ container, sandbox }: EndpointOwner): Promise<void> {
    const { engine, log } = this.#dockerd;
    if (sandbox.gwbridge && engine.gwbridgeAnswersInfo) return;
    for (const endpoint of sorted(engine, sandbox.endpoints)) {
      await ignoring(log, this.#endpoints.info(endpoint));
      const told = endpoint.network.driver === "bridge" && hasPorts(container);
      if (told && engine.infoStopsAtFirstPorts) return;
    }
  }

  async #askAtJoin({ container, sandbox }: EndpointOwner, endpoint: BookEndpoint): Promise<void> {
    if (sandbox.gwbridge || portsTold(container, sandbox)) return;
    await this.#endpoints.info(endpoint);
  }
}

function remove(sandbox: Sandbox, endpoint: BookEndpoint): void {
  sandbox.endpoints = sandbox.endpoints.filter((one) => one !== endpoint);
  sandbox.gateways = sandbox.gateways.filter((one) => one !== endpoint);
}
