// The plugin under test as dockerd's network driver: registration, calls, and what dockerd accepts as an answer
// (moby libnetwork/drivers/remote/driver.go).
import ipaddr from "ipaddr.js";
import { parseMac } from "../../values.ts";
import type { LinkRoute } from "./book.ts";
import type { Engine } from "./engine.ts";
import { field, isObject, PluginStatusError, textField } from "./plugin-client.ts";
import type { PluginClient } from "./plugin-client.ts";
import { parseCidr } from "./plugin-ipam.ts";

export interface EndpointAddress {
  readonly address?: string;
  readonly addressIPv6?: string;
  readonly mac?: string;
}

export interface Joined {
  readonly srcName: string;
  readonly dstPrefix: string;
  readonly gateway?: string;
  readonly gatewayIPv6?: string;
  readonly disableGatewayService: boolean;
  readonly routes: readonly LinkRoute[];
}

type Ids = readonly [networkId: string, endpointId: string];
type Options = Readonly<Record<string, unknown>>;

const NEXT_HOP = 0;

export class RemoteDriver {
  readonly #client: PluginClient;
  readonly #engine: Engine;
  readonly #managed: boolean;
  #activation: Promise<void> | undefined;
  #active = false;
  gwAllocChecker = false;
  requiresMacAddress = false;
  requiresRequestReplay = false;
  /** What registration was told on 20.10, which asks no more. */
  localAddressSpace = "";

  constructor(client: PluginClient, engine: Engine, managed: boolean) {
    this.#client = client;
    this.#engine = engine;
    this.#managed = managed;
  }

  /** Whether this dockerd has loaded the plugin. Forced clean-up at boot does not load it. */
  get active(): boolean {
    return this.#active;
  }

  /** Loads and registers the plugin, once in the life of a dockerd. A failure is not remembered: the next use tries again. */
  activate(): Promise<void> {
    this.#activation ??= this.#register().catch((error: unknown) => {
      this.#activation = undefined;
      throw error;
    });
    return this.#activation;
  }

  /** A new dockerd knows no plugins. */
  forget(): void {
    this.#activation = undefined;
    this.#active = false;
  }

  async #register(): Promise<void> {
    let implemented: unknown = ["NetworkDriver", "IpamDriver"];
    // A managed plugin says in its config.json what it implements.
    if (!this.#managed) implemented = field(await this.#client.call("Plugin.Activate"), "Implements");
    if (!Array.isArray(implemented)) throw new TypeError("the plugin's manifest has no Implements list");
    if (implemented.includes("NetworkDriver")) await this.#registerNetwork();
    if (implemented.includes("IpamDriver")) await this.#registerIpam();
    this.#active = true;
  }

  async #registerNetwork(): Promise<void> {
    const reply = await this.#client.call("NetworkDriver.GetCapabilities");
    const scope = textField(reply, "Scope");
    const connectivity = textField(reply, "ConnectivityScope");
    const known = ["local", "global"];
    if (!known.includes(scope) || !(connectivity === "" || known.includes(connectivity))) {
      throw new Error(`invalid capability: expecting 'local' or 'global', got ${scope || connectivity}`);
    }
    this.gwAllocChecker = this.#engine.gwAllocCheck && field(reply, "GwAllocChecker") === true;
  }

  async #registerIpam(): Promise<void> {
    const reply = await this.#client.call("IpamDriver.GetCapabilities").catch(() => ({}));
    this.requiresMacAddress = field(reply, "RequiresMACAddress") === true;
    this.requiresRequestReplay = field(reply, "RequiresRequestReplay") === true;
    if (this.#engine.asksAddressSpaces !== "at registration") return;
    const spaces = await this.#client.call("IpamDriver.GetDefaultAddressSpaces");
    this.localAddressSpace = textField(spaces, "LocalDefaultAddressSpace");
  }

  async gwAllocCheck(options: Options): Promise<{ skipIPv4: boolean; skipIPv6: boolean }> {
    await this.activate();
    if (!this.gwAllocChecker) return { skipIPv4: false, skipIPv6: false };
    const reply = await this.#call("GwAllocCheck", { Options: options });
    return { skipIPv4: field(reply, "SkipIPv4") === true, skipIPv6: field(reply, "SkipIPv6") === true };
  }

  async createNetwork(NetworkID: string, Options: Options, IPv4Data: unknown[], IPv6Data: unknown[]): Promise<void> {
    await this.#call("CreateNetwork", { NetworkID, Options, IPv4Data, IPv6Data });
  }

  async deleteNetwork(NetworkID: string): Promise<void> {
    await this.#call("DeleteNetwork", { NetworkID });
  }

  /** @returns what dockerd knows of the endpoint afterwards */
  async createEndpoint(
    [NetworkID, EndpointID]: Ids,
    given: EndpointAddress,
    Options: Options,
  ): Promise<EndpointAddress> {
    const Interface = {
      Address: given.address ?? "",
      AddressIPv6: given.addressIPv6 ?? "",
      MacAddress: given.mac ?? "",
    };
    const reply = await this.#call("CreateEndpoint", { NetworkID, EndpointID, Interface, Options });
    try {
      return mergeInterface(given, reply);
    } catch (error) {
      const readable = error instanceof ModifiedError;
      if (readable || this.#engine.undoesUnreadableReplies) {
        await this.deleteEndpoint([NetworkID, EndpointID]).catch(() => undefined);
      }
      throw error;
    }
  }

  async deleteEndpoint([NetworkID, EndpointID]: Ids): Promise<void> {
    await this.#call("DeleteEndpoint", { NetworkID, EndpointID });
  }

  async join([NetworkID, EndpointID]: Ids, SandboxKey: string, Options: Options): Promise<Joined> {
    const reply = await this.#call("Join", { NetworkID, EndpointID, SandboxKey, Options });
    try {
      return readJoin(reply);
    } catch (error) {
      if (this.#engine.undoesUnreadableReplies) await this.leave([NetworkID, EndpointID]).catch(() => undefined);
      throw error;
    }
  }

  async leave([NetworkID, EndpointID]: Ids): Promise<void> {
    await this.#call("Leave", { NetworkID, EndpointID });
  }

  async endpointInfo([NetworkID, EndpointID]: Ids): Promise<void> {
    await this.#call("EndpointOperInfo", { NetworkID, EndpointID });
  }

  async programExternalConnectivity([NetworkID, EndpointID]: Ids, Options: Options): Promise<void> {
    await this.#call("ProgramExternalConnectivity", { NetworkID, EndpointID, Options }, true);
  }

  async revokeExternalConnectivity([NetworkID, EndpointID]: Ids): Promise<void> {
    await this.#call("RevokeExternalConnectivity", { NetworkID, EndpointID }, true);
  }

  /** On a 200 the network vocabulary has its errors under `Err`; an `Error` there is not seen at all. */
  async #call(method: string, body: unknown, optional = false): Promise<Record<string, unknown>> {
    await this.activate();
    try {
      const reply = await this.#client.call(`NetworkDriver.${method}`, body);
      const error = textField(reply, "Err");
      if (error !== "") throw new Error(`remote: ${error}`);
      return reply;
    } catch (error) {
      if (optional && error instanceof PluginStatusError && error.status === 404) return {};
      throw error;
    }
  }
}

/** The driver answered a field that dockerd had set. Saying the same value again is no better. */
class ModifiedError extends Error {}

function mergeInterface(given: EndpointAddress, reply: Readonly<Record<string, unknown>>): EndpointAddress {
  const answered = field(reply, "Interface");
  if (!isObject(answered)) return given;
  const mac = textField(answered, "MacAddress");
  const address = textField(answered, "Address");
  const addressIPv6 = textField(answered, "AddressIPv6");
  const values = {
    ...(mac !== "" && { mac: parseMac(mac) }),
    ...(address !== "" && { address: parseCidr(address).toString() }),
    ...(addressIPv6 !== "" && { addressIPv6: parseCidr(addressIPv6).toString() }),
  };
  refuseChange("MAC address: endpoint interface MAC address", given.mac, values.mac);
  refuseChange("address: endpoint interface IP", given.address, values.address, "()");
  refuseChange("address: endpoint interface IPv6", given.addressIPv6, values.addressIPv6, "()");
  return { ...given, ...values };
}

function refuseChange(
  what: string,
  given: string | undefined,
  answered: string | undefined,
  [open = "", shut = ""] = "",
): void {
  if (given === undefined || answered === undefined) return;
  throw new ModifiedError(
    `driver modified interface ${what} present (${given}). Cannot be modified with ${open}${answered}${shut}.; rolled back`,
  );
}

function readJoin(reply: Readonly<Record<string, unknown>>): Joined {
  const names = field(reply, "InterfaceName") ?? {};
  if (!isObject(names)) throw new TypeError("json: cannot unmarshal InterfaceName");
  const gateway = readAddress(reply, "Gateway");
  const gatewayIPv6 = readAddress(reply, "GatewayIPv6");
  return {
    srcName: textField(names, "SrcName"),
    dstPrefix: textField(names, "DstPrefix"),
    ...(gateway !== undefined && { gateway }),
    ...(gatewayIPv6 !== undefined && { gatewayIPv6 }),
    disableGatewayService: field(reply, "DisableGatewayService") === true,
    routes: readRoutes(reply),
  };
}

function readAddress(reply: Readonly<Record<string, unknown>>, name: string): string | undefined {
  const text = textField(reply, name);
  if (text === "") return undefined;
  if (!ipaddr.isValid(text)) throw new Error(`unable to parse ${name} ${JSON.stringify(text)}`);
  return text;
}

function readRoutes(reply: Readonly<Record<string, unknown>>): LinkRoute[] {
  const routes = field(reply, "StaticRoutes") ?? [];
  if (!Array.isArray(routes)) throw new TypeError("json: cannot unmarshal StaticRoutes");
  return routes.filter(isObject).map((route) => {
    const destination = parseCidr(textField(route, "Destination")).toString();
    const type = Number(field(route, "RouteType") ?? NEXT_HOP);
    const nextHop = textField(route, "NextHop");
    if (type === NEXT_HOP && !ipaddr.isValid(nextHop)) throw new Error(`failed to parse nexthop IP ${nextHop}`);
    return type === NEXT_HOP ? { destination, nextHop } : { destination };
  });
}
