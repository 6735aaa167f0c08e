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
import { endpointOptions, sandboxOptions } from "./endpoint-options.ts";
import { chooseGateways, hasDefaultRoute, needsGwbridge, sorted } from "./gateways.ts";
import { KeyedQueue } from "./keyed-queue.ts";
import { bare, ignoring, randomId } from "./networks.ts";
import type { Dockerd, Networks } from "./networks.ts";
import type { Joined } from "./remote-driver.ts";

/** What a test with real links does where dockerd moves one into the container and back. */
export interface LinkMover {
  attach?(link: LinkMove): Promise<void> | void;
  detach?(link: LinkMove): Promise<void> | void;
  /** The container died with its namespace, and the link with both; nothing is moved back. */
  lost?(link: LinkMove): Promise<void> | void;
}

export class Containers {
  /** By name, stopped ones included. */
  readonly book = new Map<string, BookContainer>();
  readonly #dockerd: Dockerd;
  readonly #networks: Networks;
  readonly #links: LinkMover;
  readonly #moved = new Map<BookEndpoint, LinkMove>();
  readonly #networkLock = new KeyedQueue();

  constructor(dockerd: Dockerd, networks: Networks, links: LinkMover) {
    this.#dockerd = dockerd;
    this.#networks = networks;
    this.#links = links;
  }

  get(name: string): BookContainer {
    const container = this.book.get(name);
    if (!container) throw new Error(`No such container: ${name}`);
    return container;
  }

  /** Every endpoint of a running container, or those of one network. */
  endpoints(network?: string): BookEndpoint[] {
    const all = [...this.book.values()].flatMap(({ sandbox }) => sandbox?.endpoints ?? []);
    return network === undefined ? all : all.filter((endpoint) => endpoint.network.name === network);
  }

  rename(from: string, to: string): void {
    const container = this.get(from);
    container.name = to;
    this.book.delete(from);
    this.book.set(to, container);
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

  async start(container: BookContainer): Promise<void> {
    if (container.sandbox) return;
    const { engine } = this.#dockerd;
    const key = `/var/run/docker/netns/${randomBytes(6).toString("hex")}`;
    const sandbox: Sandbox = { key, endpoints: [], gateways: [], gwbridge: false };
    container.sandbox = sandbox;
    const pending: LinkMove[] = [];
    try {
      for (const [name, attach] of container.attachments) {
        const move = await this.#connect(
          container,
          sandbox,
          this.#networks.get(name),
          attach,
          engine.sandboxBeforeJoin,
        );
        if (move) pending.push(move);
      }
      // Before 28 the runtime makes the namespace now, and its prestart hook moves the links.
      for (const move of pending) await this.#attach(sandbox, move);
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
      await this.#leave(container, sandbox, endpoint);
      await this.#delete(endpoint);
    }
    delete container.sandbox;
  }

  async connect(container: BookContainer, network: BookNetwork, attach: AttachOptions): Promise<void> {
    if (container.attachments.has(network.name)) {
      throw new Error(`endpoint with name ${container.name} already exists in network ${network.name}`);
    }
    if (container.sandbox) await this.#connect(container, container.sandbox, network, attach, true);
    container.attachments.set(network.name, attach);
  }

  async disconnect(container: BookContainer, network: BookNetwork): Promise<void> {
    if (!container.attachments.has(network.name)) {
      throw new Error(`container ${container.name} is not connected to network ${network.name}`);
    }
    const { sandbox } = container;
    const endpoint = sandbox?.endpoints.find((one) => one.network === network);
    if (sandbox && endpoint) {
      await this.#leave(container, sandbox, endpoint);
      await this.#askForPorts(container, sandbox);
      await this.#delete(endpoint);
    }
    container.attachments.delete(network.name);
  }

  /** The container is gone, as is its namespace, and dockerd has yet to find out. */
  async loseLinks(container: BookContainer): Promise<void> {
    for (const endpoint of container.sandbox?.endpoints ?? []) {
      const move = this.#moved.get(endpoint);
      this.#moved.delete(endpoint);
      if (move) await this.#links.lost?.(move);
    }
  }

  /** 28 asks every endpoint of a container that lived through dockerd's restart. */
  async askAfterLiveRestore(container: BookContainer): Promise<void> {
    if (container.sandbox) await this.#askForPorts(container, container.sandbox);
  }

  /** @returns the move of the link when it is still to be made */
  async #connect(
    container: BookContainer,
    sandbox: Sandbox,
    network: BookNetwork,
    attach: AttachOptions,
    moveNow: boolean,
  ): Promise<LinkMove | undefined> {
    const { engine, driver, log } = this.#dockerd;
    await this.#askForPorts(container, sandbox);
    const endpoint = await this.#networkLock.run(network.id, () => this.#create(container, sandbox, network, attach));
    let joined: Joined | undefined;
    if (network.driver === "plugin") {
      try {
        joined = await driver.join(ids(endpoint), sandbox.key, sandboxOptions(container.options));
      } catch (error) {
        await this.#delete(endpoint);
        throw error;
      }
    }
    accept(endpoint, joined);
    sandbox.endpoints.push(endpoint);
    const move = linkMove(endpoint, sandbox, joined);
    try {
      if (moveNow) await this.#attach(sandbox, move);
      await this.#moveGateway(container, sandbox, endpoint);
    } catch (error) {
      remove(sandbox, endpoint);
      await this.#detach(endpoint);
      await ignoring(log, driver.leave(ids(endpoint)));
      await this.#delete(endpoint);
      throw error;
    }
    try {
      if (engine.infoAtJoin) await this.#askAtJoin(container, sandbox, endpoint);
    } catch (error) {
      await this.#leave(container, sandbox, endpoint);
      await this.#delete(endpoint);
      throw new Error(`Updating join info failed: ${(error as Error).message}`, { cause: error });
    }
    await this.#askForPorts(container, sandbox);
    return moveNow ? undefined : move;
  }

  /** Addresses, then CreateEndpoint, under the network's lock. */
  async #create(
    container: BookContainer,
    sandbox: Sandbox,
    network: BookNetwork,
    attach: AttachOptions,
  ): Promise<BookEndpoint> {
    const { driver, engine } = this.#dockerd;
    const wantsMac = network.ipamName === "plugin" && driver.requiresMacAddress;
    const mac = attach.mac ?? (wantsMac ? randomMac() : undefined);
    const endpoint: BookEndpoint = {
      id: randomId(),
      network,
      gwPriority: engine.gatewayPerFamily ? (attach.gwPriority ?? 0) : 0,
      disableGatewayService: false,
      routes: [],
      releases: [],
      ...(mac !== undefined && { mac }),
    };
    try {
      await this.#assignAddress(endpoint, 4, attach.ip, wantsMac);
      await this.#assignAddress(endpoint, 6, attach.ip6, wantsMac);
      if (network.driver === "plugin") {
        const { address, addressIPv6 } = endpoint;
        const given = {
          ...(address !== undefined && { address }),
          ...(addressIPv6 !== undefined && { addressIPv6 }),
          ...(mac !== undefined && { mac }),
        };
        const options = endpointOptions(network, container.options, attach, portsTold(container, sandbox));
        try {
          Object.assign(endpoint, await driver.createEndpoint(ids(endpoint), given, options));
        } catch (error) {
          const where = `endpoint ${container.name} on network ${network.name}`;
          throw new Error(`failed to create ${where}: ${(error as Error).message}`, { cause: error });
        }
      }
      return endpoint;
    } catch (error) {
      await this.#releaseAddresses(endpoint);
      throw error;
    }
  }

  async #assignAddress(
    endpoint: BookEndpoint,
    family: 4 | 6,
    wanted: string | undefined,
    withMac: boolean,
  ): Promise<void> {
    const { network, mac } = endpoint;
    // dockerd tries only the first pool of a family: it cannot tell a full pool from any other remote error.
    const pool = network.pools.find((one) => one.family === family);
    if (!pool) return;
    const given = await network.ipam.requestAddress(pool.poolId, {
      ...(wanted !== undefined && { address: wanted }),
      ...(withMac && mac !== undefined && { mac }),
    });
    if (given === undefined) return;
    if (family === 4) endpoint.address = given;
    else endpoint.addressIPv6 = given;
    endpoint.releases.push(() => network.ipam.releaseAddress(pool.poolId, bare(given)));
  }

  /** Hands the default route to the endpoint that should now have it, after one has joined. */
  async #moveGateway(container: BookContainer, sandbox: Sandbox, joined: BookEndpoint): Promise<void> {
    const { engine } = this.#dockerd;
    const former = sandbox.gateways;
    sandbox.gateways = chooseGateways(engine, sandbox.endpoints);
    sandbox.gwbridge = needsGwbridge(engine, sandbox.endpoints);
    const lost = former.filter((endpoint) => !sandbox.gateways.includes(endpoint));
    for (const endpoint of lost) await this.#revoke(endpoint);
    try {
      if (sandbox.gateways.includes(joined)) await this.#program(container, sandbox, joined);
    } catch (error) {
      for (const endpoint of lost) await ignoring(this.#dockerd.log, this.#program(container, sandbox, endpoint));
      sandbox.gateways = former;
      const which = `endpoint ${container.name} (${joined.id})`;
      throw new Error(`driver failed programming external connectivity on ${which}: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  async #leave(container: BookContainer, sandbox: Sandbox, endpoint: BookEndpoint): Promise<void> {
    const { engine, driver, log } = this.#dockerd;
    const former = sandbox.gateways;
    if (former.includes(endpoint)) await ignoring(log, this.#revoke(endpoint));
    if (reaches(this.#dockerd, endpoint)) await ignoring(log, driver.leave(ids(endpoint)));
    await this.#detach(endpoint);
    remove(sandbox, endpoint);
    sandbox.gateways = chooseGateways(engine, sandbox.endpoints);
    sandbox.gwbridge = needsGwbridge(engine, sandbox.endpoints);
    for (const next of sandbox.gateways) {
      if (!former.includes(next)) await ignoring(log, this.#program(container, sandbox, next));
    }
  }

  async #delete(endpoint: BookEndpoint): Promise<void> {
    const { driver, log } = this.#dockerd;
    if (reaches(this.#dockerd, endpoint)) await ignoring(log, driver.deleteEndpoint(ids(endpoint)));
    await this.#releaseAddresses(endpoint);
  }

  async #releaseAddresses(endpoint: BookEndpoint): Promise<void> {
    for (const release of endpoint.releases.splice(0)) await ignoring(this.#dockerd.log, release());
  }

  async #program(container: BookContainer, sandbox: Sandbox, endpoint: BookEndpoint): Promise<void> {
    const { engine, driver } = this.#dockerd;
    if (endpoint.network.driver !== "plugin" || endpoint.network.internal) return;
    const sixElsewhere =
      endpoint.gatewayIPv6 === undefined && sandbox.gateways.some((one) => one.gatewayIPv6 !== undefined);
    const more = engine.gatewayPerFamily ? { "com.docker.network.driver.private.no_proxy_6to4": sixElsewhere } : {};
    await driver.programExternalConnectivity(ids(endpoint), sandboxOptions(container.options, more));
  }

  async #revoke(endpoint: BookEndpoint): Promise<void> {
    if (reaches(this.#dockerd, endpoint)) await this.#dockerd.driver.revokeExternalConnectivity(ids(endpoint));
  }

  /** dockerd's search for published ports. What a remote driver answers is thrown away (protocol note at EndpointOperInfo). */
  async #askForPorts(container: BookContainer, sandbox: Sandbox): Promise<void> {
    const { engine, driver, log } = this.#dockerd;
    const told = (endpoint: BookEndpoint): boolean => endpoint.network.driver === "bridge" && hasPorts(container);
    if (sandbox.gwbridge && engine.gwbridgeAnswersInfo) return;
    for (const endpoint of sorted(engine, sandbox.endpoints)) {
      if (endpoint.network.driver === "plugin") await ignoring(log, driver.endpointInfo(ids(endpoint)));
      if (told(endpoint) && engine.infoStopsAtFirstPorts) return;
    }
  }

  async #askAtJoin(container: BookContainer, sandbox: Sandbox, endpoint: BookEndpoint): Promise<void> {
    if (endpoint.network.driver !== "plugin" || sandbox.gwbridge || portsTold(container, sandbox)) return;
    await this.#dockerd.driver.endpointInfo(ids(endpoint));
  }

  async #attach(sandbox: Sandbox, move: LinkMove): Promise<void> {
    const endpoint = sandbox.endpoints.find(({ id }) => id === move.endpointId);
    if (endpoint?.network.driver !== "plugin") return;
    // 28 takes the gateway for the only source of a default route, and finds none.
    if (this.#dockerd.engine.gatewayPerFamily && endpoint.gateway === undefined && hasDefaultRoute(endpoint)) {
      throw new Error("updating gateway endpoint: failed to set IPv4 default route");
    }
    if (move.srcName !== "") {
      await this.#links.attach?.(move);
      this.#moved.set(endpoint, move);
    } else if (endpoint.gateway !== undefined) {
      throw new Error(`failed to set gateway: route for the gateway ${endpoint.gateway} could not be found`);
    }
  }

  async #detach(endpoint: BookEndpoint): Promise<void> {
    const move = this.#moved.get(endpoint);
    this.#moved.delete(endpoint);
    if (move) await this.#links.detach?.(move);
  }
}

const ids = ({ network, id }: BookEndpoint): [string, string] => [network.id, id];

const hasPorts = ({ options }: BookContainer): boolean => (options.ports ?? []).length > 0;

/** Only the built-in bridge driver, docker_gwbridge included, can tell dockerd of published ports. */
const portsTold = (container: BookContainer, { endpoints, gwbridge }: Sandbox): boolean =>
  hasPorts(container) && (gwbridge || endpoints.some(({ network }) => network.driver === "bridge"));

/** Whether calls about this endpoint go to the plugin: dockerd does not load one for its clean-up. */
const reaches = ({ driver }: Dockerd, { network }: BookEndpoint): boolean =>
  network.driver === "plugin" && driver.active;

function remove(sandbox: Sandbox, endpoint: BookEndpoint): void {
  sandbox.endpoints = sandbox.endpoints.filter((one) => one !== endpoint);
  sandbox.gateways = sandbox.gateways.filter((one) => one !== endpoint);
}

/** What dockerd keeps of a Join reply. A built-in bridge network always is its own gateway. */
function accept(endpoint: BookEndpoint, joined: Joined | undefined): void {
  if (joined === undefined) {
    const gateway = endpoint.network.pools[0]?.gateway;
    if (gateway !== undefined && !endpoint.network.internal) endpoint.gateway = bare(gateway);
    return;
  }
  if (joined.gateway !== undefined) endpoint.gateway = joined.gateway;
  if (joined.gatewayIPv6 !== undefined) endpoint.gatewayIPv6 = joined.gatewayIPv6;
  endpoint.disableGatewayService = joined.disableGatewayService;
  endpoint.routes = joined.routes;
}

function linkMove(endpoint: BookEndpoint, { key }: Sandbox, joined: Joined | undefined): LinkMove {
  const { id, address, addressIPv6, mac, gateway, gatewayIPv6, routes } = endpoint;
  return {
    srcName: joined?.srcName ?? "",
    dstPrefix: joined?.dstPrefix ?? "",
    sandboxKey: key,
    endpointId: id,
    routes,
    ...(address !== undefined && { address }),
    ...(addressIPv6 !== undefined && { addressIPv6 }),
    ...(mac !== undefined && { mac }),
    ...(gateway !== undefined && { gateway }),
    ...(gatewayIPv6 !== undefined && { gatewayIPv6 }),
  };
}

/** Locally administered, as dockerd makes them up. */
function randomMac(): string {
  const bytes = randomBytes(6);
  bytes[0] = ((bytes[0] ?? 0) & 0xfe) | 0x02;
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}
