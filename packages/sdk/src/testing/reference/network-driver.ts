// The smallest network driver that holds to every rule, and the ways in which drivers break them, one at a time.
import type {
  CallContext,
  CreateEndpointReply,
  CreateEndpointRequest,
  CreateNetworkRequest,
  EndpointRequest,
  JoinReply,
  JoinRequest,
  NetworkDriver,
  NetworkRequest,
} from "../../network-driver.ts";
import { PluginError } from "../../plugin-error.ts";
import { parseMac } from "../../values.ts";
import type { CrashPoints, Host, Life } from "../conformance/subject.ts";
import { MemoryHost, MemoryProcess } from "./memory-host.ts";

/** What is broken; the tests of the checks name the check that must find it. */
export type NetworkFault =
  | "refuses to create a network twice"
  | "refuses to delete what is gone"
  | "answers another MAC address each time"
  | "keeps its records in memory"
  | "makes before it writes down what it will make"
  | "writes down only what it has made"
  | "names a gateway on internal networks"
  | "forgets an endpoint at Leave"
  | "leaves a network's endpoints behind"
  | "takes one address for two endpoints"
  | "swallows unknown options"
  | "joins endpoints that it does not know"
  | "names every link alike"
  | "does not rebuild after a reboot"
  | "forgets to withdraw ports";

interface Row {
  readonly kind: "network" | "endpoint";
  readonly id: string;
  readonly network: string;
  /** `intent`: nothing was answered yet. `removing`: a delete was begun. */
  readonly progress: "intent" | "made" | "removing";
  readonly internal: boolean;
  readonly gateway?: string;
  readonly gatewayIPv6?: string;
  readonly address?: string;
  readonly published: boolean;
}

const linkOf = (id: string): string => `link v${id.slice(0, 10)}`;
const portsOf = (id: string): string => `ports ${id.slice(0, 10)}`;
const bridgeOf = (id: string): string => `bridge b${id.slice(0, 10)}`;

class ReferenceNetworkDriver implements NetworkDriver {
  readonly capabilities = { scope: "local" } as const;
  readonly #process: MemoryProcess<Row>;
  readonly #fault: NetworkFault | undefined;

  constructor(process: MemoryProcess<Row>, fault: NetworkFault | undefined) {
    this.#process = process;
    this.#fault = fault;
  }

  /** Finishes or takes back what a former process was doing, and rebuilds what the kernel lost. */
  async reconcile(): Promise<void> {
    const rows = [...this.#process.records.values()];
    // Whatever was not answered is taken back: dockerd believes that it failed.
    for (const row of rows.filter(({ progress }) => progress !== "made")) await this.#discard(row);
    if (this.#fault === "does not rebuild after a reboot") return;
    for (const row of rows.filter(({ progress }) => progress === "made")) {
      await this.#process.make(thingOf(row));
      if (row.published) await this.#process.make(portsOf(row.id));
    }
  }

  async createNetwork({ networkId: id, options, ipv4, ipv6 }: CreateNetworkRequest, call: CallContext): Promise<void> {
    for (const name of Object.keys(options.driverOpts)) {
      if (this.#fault === "swallows unknown options") break;
      throw new PluginError(`option "${name}" is unknown`, { hint: "Leave it out: there are no options." });
    }
    const known = this.#process.records.get(id);
    if (known && this.#fault === "refuses to create a network twice") throw new PluginError("the network exists");
    if (known?.progress === "made") return call.madeBefore?.();
    await this.#create({
      kind: "network",
      id,
      network: id,
      progress: "intent",
      internal: options.internal,
      published: false,
      ...(ipv4[0]?.gateway && { gateway: ipv4[0].gateway.address }),
      ...(ipv6[0]?.gateway && { gatewayIPv6: ipv6[0].gateway.address }),
    });
  }

  async deleteNetwork({ networkId }: NetworkRequest): Promise<void> {
    const network = this.#process.records.get(networkId);
    if (!network && this.#fault === "refuses to delete what is gone") throw new PluginError("no such network");
    if (network) await this.#discard(network);
  }

  async createEndpoint(
    { networkId, endpointId: id, interface: given }: CreateEndpointRequest,
    call: CallContext,
  ): Promise<CreateEndpointReply> {
    const network = this.#mustFind(networkId, "network");
    const rivals = this.#endpointsOf(networkId).filter(
      (row) => row.id !== id && row.address === given.address?.toString(),
    );
    if (this.#fault !== "takes one address for two endpoints") for (const rival of rivals) await this.#discard(rival);
    const mac = this.#fault === "answers another MAC address each time" ? randomMac() : `02:00:${octets(id)}`;
    if (this.#process.records.get(id)?.progress === "made") call.madeBefore?.();
    else {
      const { internal, gateway, gatewayIPv6 } = network;
      const row = { kind: "endpoint", id, network: networkId, progress: "intent", published: false, internal } as const;
      await this.#create({
        ...row,
        ...(gateway !== undefined && { gateway }),
        ...(gatewayIPv6 !== undefined && { gatewayIPv6 }),
        ...(given.address && { address: given.address.toString() }),
      });
    }
    return given.macAddress === undefined ? { interface: { macAddress: parseMac(mac) } } : {};
  }

  async deleteEndpoint({ endpointId }: EndpointRequest): Promise<void> {
    const endpoint = this.#process.records.get(endpointId);
    if (endpoint) await this.#discard(endpoint);
  }

  // eslint-disable-next-line @typescript-eslint/require-await -- the interface's verbs are asynchronous
  async join({ endpointId }: JoinRequest): Promise<JoinReply> {
    const id = endpointId as string;
    const lenient = this.#fault === "joins endpoints that it does not know";
    const endpoint = lenient ? this.#process.records.get(id) : this.#mustFind(id, "endpoint");
    const srcName = this.#fault === "names every link alike" ? "veth0" : linkOf(id).slice("link ".length);
    const hidden = endpoint?.internal === true && this.#fault !== "names a gateway on internal networks";
    return {
      interfaceName: { srcName, dstPrefix: "eth" },
      ...(!hidden && endpoint?.gateway !== undefined && { gateway: endpoint.gateway }),
      ...(!hidden && endpoint?.gatewayIPv6 !== undefined && { gatewayIPv6: endpoint.gatewayIPv6 }),
    };
  }

  async leave(request: EndpointRequest): Promise<void> {
    if (this.#fault === "forgets an endpoint at Leave") await this.deleteEndpoint(request);
  }

  async programExternalConnectivity({ endpointId }: EndpointRequest): Promise<void> {
    const row = this.#mustFind(endpointId, "endpoint");
    await this.#process.commit({ [endpointId]: { ...row, published: true } });
    await this.#process.make(portsOf(endpointId));
  }

  async revokeExternalConnectivity({ endpointId }: EndpointRequest): Promise<void> {
    const row = this.#process.records.get(endpointId);
    if (!row?.published) return;
    await this.#process.remove(portsOf(endpointId));
    await this.#process.commit({ [endpointId]: { ...row, published: false } });
  }

  async #create(row: Row): Promise<void> {
    const written = this.#fault !== "makes before it writes down what it will make";
    if (written && this.#fault !== "writes down only what it has made") await this.#process.commit({ [row.id]: row });
    await this.#process.make(thingOf(row));
    await this.#process.commit({ [row.id]: { ...row, progress: "made" } });
  }

  async #discard(row: Row): Promise<void> {
    await this.#process.commit({ [row.id]: { ...row, progress: "removing" } });
    if (row.kind === "network" && this.#fault !== "leaves a network's endpoints behind") {
      for (const endpoint of this.#endpointsOf(row.id)) await this.#discard(endpoint);
    }
    if (this.#fault !== "forgets to withdraw ports") await this.#process.remove(portsOf(row.id));
    await this.#process.remove(thingOf(row));
    await this.#process.commit({ [row.id]: undefined });
  }

  #endpointsOf(network: string): Row[] {
    return [...this.#process.records.values()].filter((row) => row.kind === "endpoint" && row.network === network);
  }

  #mustFind(id: string, kind: Row["kind"]): Row {
    const row = this.#process.records.get(id);
    if (row?.kind !== kind || row.progress !== "made") throw new PluginError(`the ${kind} is unknown`);
    return row;
  }
}

const thingOf = ({ kind, id }: Row): string => (kind === "network" ? bridgeOf(id) : linkOf(id));

const octets = (id: string): string => id.slice(0, 8).replaceAll(/(..)(?=.)/g, "$1:");

const randomMac = (): string => `02:00:${octets(Math.random().toString(16).slice(2).padEnd(8, "0"))}`;

/** A host with nothing on it, and the reference driver to run there. */
export function referenceNetworkHost(fault?: NetworkFault): Host {
  const host = new MemoryHost<Row>();
  return {
    async start(crashPoints: CrashPoints): Promise<Life> {
      if (fault === "keeps its records in memory") host.records.clear();
      const driver = new ReferenceNetworkDriver(new MemoryProcess(host, crashPoints), fault);
      await driver.reconcile();
      return { network: driver, close: () => Promise.resolve(), kill: () => undefined };
    },
    inventory: () => host.inventory(),
    reboot: () => host.reboot(),
  };
}
