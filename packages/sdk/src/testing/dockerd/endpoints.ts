// One endpoint of a container: its addresses, the calls about it, and the move of its link.
import { randomBytes } from "node:crypto";
import type { AttachOptions, BookContainer, BookEndpoint, BookNetwork, LinkMove, Sandbox } from "./book.ts";
import { endpointOptions, sandboxOptions } from "./endpoint-options.ts";
import { hasDefaultRoute } from "./gateways.ts";
import { KeyedQueue } from "./keyed-queue.ts";
import { bare, ignoring, randomId } from "./networks.ts";
import type { Dockerd } from "./networks.ts";
import type { Joined } from "./remote-driver.ts";

/** What a test with real links does where dockerd moves one into the container and back. */
export interface LinkMover {
  attach?(link: LinkMove): Promise<void> | void;
  detach?(link: LinkMove): Promise<void> | void;
  /** The container died with its namespace, and the link with both; nothing is moved back. */
  lost?(link: LinkMove): Promise<void> | void;
}

/** Whom the endpoint is made for. */
export interface EndpointOwner {
  readonly container: BookContainer;
  readonly sandbox: Sandbox;
}

export class Endpoints {
  readonly #dockerd: Dockerd;
  readonly #links: LinkMover;
  readonly #moved = new Map<BookEndpoint, LinkMove>();
  readonly #networkLock = new KeyedQueue();
  #forced = false;

  constructor(dockerd: Dockerd, links: LinkMover) {
    this.#dockerd = dockerd;
    this.#links = links;
  }

  /** dockerd's clean-up at its start: it says nothing to a plugin that it would have to load for that. */
  async forced(task: () => Promise<void>): Promise<void> {
    this.#forced = true;
    try {
      await task();
    } finally {
      this.#forced = false;
    }
  }

  /** Addresses, then CreateEndpoint, under the network's lock. */
  create(owner: EndpointOwner, network: BookNetwork, attach: AttachOptions): Promise<BookEndpoint> {
    return this.#networkLock.run(network.id, async () => {
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
        if (network.driver === "plugin") await this.#createOnPlugin(endpoint, owner, attach);
        return endpoint;
      } catch (error) {
        await this.#releaseAddresses(endpoint);
        throw error;
      }
    });
  }

  async #createOnPlugin(
    endpoint: BookEndpoint,
    { container, sandbox }: EndpointOwner,
    attach: AttachOptions,
  ): Promise<void> {
    const { network, address, addressIPv6, mac } = endpoint;
    const given = {
      ...(address !== undefined && { address }),
      ...(addressIPv6 !== undefined && { addressIPv6 }),
      ...(mac !== undefined && { mac }),
    };
    const options = endpointOptions(network, container.options, attach, portsTold(container, sandbox));
    try {
      Object.assign(endpoint, await this.#dockerd.driver.createEndpoint(ids(endpoint), given, options));
    } catch (error) {
      const where = `endpoint ${container.name} on network ${network.name}`;
      throw new Error(`failed to create ${where}: ${(error as Error).message}`, { cause: error });
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

  /** @returns the move that the reply asks for */
  async join(endpoint: BookEndpoint, { container, sandbox }: EndpointOwner): Promise<LinkMove> {
    if (endpoint.network.driver === "bridge") {
      // Docker's own bridge is its own gateway, and moves its links without us.
      const gateway = endpoint.network.pools[0]?.gateway;
      if (gateway !== undefined && !endpoint.network.internal) endpoint.gateway = bare(gateway);
      return linkMove(endpoint, sandbox, { srcName: "", dstPrefix: "" });
    }
    const joined = await this.#dockerd.driver.join(ids(endpoint), sandbox.key, sandboxOptions(container.options));
    if (joined.gateway !== undefined) endpoint.gateway = joined.gateway;
    if (joined.gatewayIPv6 !== undefined) endpoint.gatewayIPv6 = joined.gatewayIPv6;
    endpoint.disableGatewayService = joined.disableGatewayService;
    endpoint.routes = joined.routes;
    return linkMove(endpoint, sandbox, joined);
  }

  async leave(endpoint: BookEndpoint): Promise<void> {
    if (this.#reaches(endpoint)) await ignoring(this.#dockerd.log, this.#dockerd.driver.leave(ids(endpoint)));
    const move = this.#moved.get(endpoint);
    this.#moved.delete(endpoint);
    if (move) await this.#links.detach?.(move);
  }

  async delete(endpoint: BookEndpoint): Promise<void> {
    const { driver, log } = this.#dockerd;
    if (this.#reaches(endpoint)) await ignoring(log, driver.deleteEndpoint(ids(endpoint)));
    await this.#releaseAddresses(endpoint);
  }

  async program(endpoint: BookEndpoint, { container, sandbox }: EndpointOwner): Promise<void> {
    if (!this.#reaches(endpoint) || endpoint.network.internal) return;
    const { engine, driver } = this.#dockerd;
    const sixElsewhere =
      endpoint.gatewayIPv6 === undefined && sandbox.gateways.some((one) => one.gatewayIPv6 !== undefined);
    const more = engine.gatewayPerFamily ? { "com.docker.network.driver.private.no_proxy_6to4": sixElsewhere } : {};
    await driver.programExternalConnectivity(ids(endpoint), sandboxOptions(container.options, more));
  }

  async revoke(endpoint: BookEndpoint): Promise<void> {
    if (this.#reaches(endpoint)) await this.#dockerd.driver.revokeExternalConnectivity(ids(endpoint));
  }

  async info(endpoint: BookEndpoint): Promise<void> {
    if (endpoint.network.driver === "plugin") await this.#dockerd.driver.endpointInfo(ids(endpoint));
  }

  async attach(endpoint: BookEndpoint, move: LinkMove): Promise<void> {
    if (endpoint.network.driver !== "plugin") return;
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

  /** The container is gone, as is its namespace, and dockerd has yet to find out. */
  async lose(endpoint: BookEndpoint): Promise<void> {
    const move = this.#moved.get(endpoint);
    this.#moved.delete(endpoint);
    if (move) await this.#links.lost?.(move);
  }

  async #releaseAddresses(endpoint: BookEndpoint): Promise<void> {
    for (const release of endpoint.releases.splice(0)) await ignoring(this.#dockerd.log, release());
  }

  #reaches({ network }: BookEndpoint): boolean {
    return network.driver === "plugin" && (!this.#forced || this.#dockerd.driver.active);
  }
}

const ids = ({ network, id }: BookEndpoint): [string, string] => [network.id, id];

export const hasPorts = ({ options }: BookContainer): boolean => (options.ports ?? []).length > 0;

/** Only the built-in bridge driver, docker_gwbridge included, can tell dockerd of published ports. */
export const portsTold = (container: BookContainer, { endpoints, gwbridge }: Sandbox): boolean =>
  hasPorts(container) && (gwbridge || endpoints.some(({ network }) => network.driver === "bridge"));

function linkMove(endpoint: BookEndpoint, { key }: Sandbox, names: Pick<Joined, "srcName" | "dstPrefix">): LinkMove {
  const { id, address, addressIPv6, mac, gateway, gatewayIPv6, routes } = endpoint;
  return {
    srcName: names.srcName,
    dstPrefix: names.dstPrefix,
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
