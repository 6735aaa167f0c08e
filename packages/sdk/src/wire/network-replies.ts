// The replies of NetworkDriver verbs with something to check before dockerd sees it.
import { isIP } from "node:net";
import type {
  CreateEndpointReply,
  CreateEndpointRequest,
  EndpointInterface,
  JoinReply,
  StaticRoute,
} from "../network-driver.ts";
import { PluginError } from "../plugin-error.ts";
import type { JsonObject } from "./decoders.ts";
import { defined } from "./fields.ts";

const DRIVER_FAULT = "This is a fault of the driver: report it to its authors.";

/**
 * dockerd refuses a reply that names a field of its own request, even with the same value ("driver modified interface
 * address"). The same value is left out here, as it says nothing new; another value is the driver's fault.
 */
export function encodeCreateEndpoint(reply: CreateEndpointReply, request: CreateEndpointRequest): JsonObject {
  const added = (field: keyof EndpointInterface): string | undefined => {
    const own = reply.interface?.[field]?.toString();
    const given = request.interface[field]?.toString();
    if (own === undefined || given === undefined) return own;
    if (own === given) return undefined;
    throw new PluginError(`the driver answered ${field} ${own} where dockerd had already decided on ${given}`, {
      hint: DRIVER_FAULT,
    });
  };
  return {
    Interface: defined({
      Address: added("address"),
      AddressIPv6: added("addressIPv6"),
      MacAddress: added("macAddress"),
    }),
  };
}

export function encodeJoin(reply: JoinReply): JsonObject {
  const { interfaceName, gateway, gatewayIPv6, staticRoutes, disableGatewayService } = reply;
  return defined({
    InterfaceName: interfaceName && encodeInterfaceName(interfaceName),
    Gateway: gateway && bareAddress("gateway", gateway, 4),
    GatewayIPv6: gatewayIPv6 && bareAddress("gatewayIPv6", gatewayIPv6, 6),
    StaticRoutes: staticRoutes?.map(encodeRoute),
    DisableGatewayService: disableGatewayService,
  });
}

function encodeInterfaceName({ srcName, dstPrefix }: NonNullable<JoinReply["interfaceName"]>): JsonObject {
  if (!isLinkName(srcName) || !isLinkName(dstPrefix)) {
    throw new PluginError(
      `the driver answered the link name "${srcName}" and the prefix "${dstPrefix}"; each must have 1 to 15 bytes without "/" and spaces`,
      { hint: DRIVER_FAULT },
    );
  }
  return { SrcName: srcName, DstPrefix: dstPrefix };
}

function isLinkName(name: string): boolean {
  return /^[^\s/]+$/.test(name) && Buffer.byteLength(name) <= 15;
}

/** libnetwork's numbers: 0 is a route by next hop, 1 one on the link itself. */
function encodeRoute({ destination, nextHop }: StaticRoute): JsonObject {
  return nextHop === undefined
    ? { Destination: destination.toString(), RouteType: 1 }
    : {
        Destination: destination.toString(),
        RouteType: 0,
        NextHop: bareAddress("nextHop", nextHop, destination.family),
      };
}

function bareAddress(field: string, text: string, family: 4 | 6): string {
  if (isIP(text) === family) return text;
  throw new PluginError(
    `the driver answered ${field} "${text}", which is not an IPv${family} address without prefix length`,
    {
      hint: DRIVER_FAULT,
    },
  );
}
