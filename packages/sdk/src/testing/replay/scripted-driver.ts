// A driver without a SDK underneath that does what a recording's driver did: it exists to put questions to the fake
// dockerd, wrong answers included.
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import { once } from "node:events";
import { Cidr } from "../../values.ts";
import { toNumber, toText } from "../dockerd/default-ipam.ts";

type Body = Readonly<Record<string, unknown>>;

/** How the driver of a recording behaved, in the recordings' own words. */
export interface Script {
  readonly err?: Readonly<Record<string, string>>;
  readonly errStatus?: number;
  /** `text`: the bare message. */
  readonly errField?: string;
  /** False: Join names no gateway. */
  readonly gateway?: boolean;
  readonly disableGatewayService?: boolean;
  readonly gwAllocChecker?: boolean;
  readonly requiresMac?: boolean;
  readonly requestReplay?: boolean;
  readonly noInterface?: boolean;
  readonly operInfo?: unknown;
  readonly createEndpoint?: unknown;
  readonly join?: Body;
}

interface Received {
  readonly verb: string;
  readonly headers: readonly string[];
  readonly raw: string;
}

const FIRST_POOL = 99;

export class ScriptedDriver implements AsyncDisposable {
  script: Script = {};
  /** Everything that came in, as it came in. */
  readonly received: Received[] = [];
  readonly #server = createServer({ keepAliveTimeout: 0 }, (request, response) => void this.#serve(request, response));
  readonly #gateways = new Map<string, { v4: string; v6: string }>();
  readonly #pools = new Map<string, Set<bigint>>();

  static async listen(socket: string): Promise<ScriptedDriver> {
    const driver = new ScriptedDriver();
    driver.#server.listen(socket);
    await once(driver.#server, "listening");
    return driver;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let raw = "";
    for await (const chunk of request) raw += String(chunk);
    const verb = (request.url ?? "").slice(1);
    this.received.push({ verb, headers: request.rawHeaders, raw });
    const { err = {}, errStatus = 200, errField = "Err" } = this.script;
    const failure = err[verb];
    if (failure !== undefined) {
      response.statusCode = errStatus;
      response.end(errField === "text" ? failure : JSON.stringify({ [errField]: failure }));
      return;
    }
    response.end(JSON.stringify(this.#answer(verb, raw === "" ? {} : (JSON.parse(raw) as Body))));
  }

  #answer(verb: string, body: Body): unknown {
    const { script } = this;
    const text = (name: string): string => (typeof body[name] === "string" ? body[name] : "");
    switch (verb) {
      case "Plugin.Activate":
        return { Implements: ["NetworkDriver", "IpamDriver"] };
      case "NetworkDriver.GetCapabilities":
        return { Scope: "local", ...(script.gwAllocChecker && { GwAllocChecker: true }) };
      case "NetworkDriver.GwAllocCheck":
        return { SkipIPv4: true };
      case "NetworkDriver.CreateNetwork":
        this.#gateways.set(text("NetworkID"), { v4: gatewayIn(body.IPv4Data), v6: gatewayIn(body.IPv6Data) });
        return {};
      case "NetworkDriver.CreateEndpoint":
        return script.createEndpoint ?? { Interface: {} };
      case "NetworkDriver.Join":
        return this.#join(text("NetworkID"), text("EndpointID"));
      case "NetworkDriver.EndpointOperInfo":
        return { Value: script.operInfo === undefined ? {} : script.operInfo };
      case "IpamDriver.GetCapabilities":
        return {
          RequiresMACAddress: script.requiresMac ?? false,
          RequiresRequestReplay: script.requestReplay ?? false,
        };
      case "IpamDriver.GetDefaultAddressSpaces":
        return { LocalDefaultAddressSpace: "DummyLocal", GlobalDefaultAddressSpace: "DummyGlobal" };
      case "IpamDriver.RequestPool":
        return this.#requestPool(text("AddressSpace"), text("Pool"));
      case "IpamDriver.RequestAddress":
        return this.#requestAddress(text("PoolID"), text("Address"));
      case "IpamDriver.ReleaseAddress":
        this.#pools.get(text("PoolID"))?.delete(toNumber(text("Address")));
        return {};
      case "IpamDriver.ReleasePool":
        this.#pools.delete(text("PoolID"));
        return {};
      default:
        return {};
    }
  }

  #join(network: string, endpoint: string): unknown {
    const { script } = this;
    const gateway = this.#gateways.get(network) ?? { v4: "", v6: "" };
    const own = `dv${endpoint.slice(0, 10)}`;
    const names = script.join?.InterfaceName as { SrcName: string } | undefined;
    return {
      InterfaceName: { SrcName: own, DstPrefix: "eth" },
      ...(script.gateway !== false && { Gateway: gateway.v4, GatewayIPv6: gateway.v6 }),
      ...(script.disableGatewayService !== undefined && { DisableGatewayService: script.disableGatewayService }),
      ...script.join,
      ...(names && { InterfaceName: { ...names, SrcName: names.SrcName === "@" ? own : names.SrcName } }),
      ...(script.noInterface && { InterfaceName: undefined }),
    };
  }

  #requestPool(space: string, wanted: string): unknown {
    let pool = wanted;
    for (let next = FIRST_POOL; pool === ""; next += 1) {
      const candidate = `10.${next}.0.0/24`;
      if (!this.#pools.has(`${space}/${candidate}`)) pool = candidate;
    }
    const id = `${space}/${pool}`;
    if (!this.#pools.has(id)) this.#pools.set(id, new Set([toNumber(Cidr.parse(pool).address)]));
    return { PoolID: id, Pool: pool };
  }

  #requestAddress(poolId: string, wanted: string): unknown {
    const used = this.#pools.get(poolId) ?? new Set();
    const subnet = Cidr.parse(poolId.replace(/^[^/]*\//, ""));
    let address = wanted === "" ? toNumber(subnet.address) : toNumber(wanted);
    while (wanted === "" && used.has(address)) address += 1n;
    used.add(address);
    return { Address: `${toText(address, subnet.family)}/${subnet.prefix}` };
  }
}

function gatewayIn(data: unknown): string {
  const [first] = Array.isArray(data) ? (data as { Gateway?: string }[]) : [];
  return first?.Gateway?.replace(/\/.*/, "") ?? "";
}
