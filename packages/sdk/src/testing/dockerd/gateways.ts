// Which endpoint of a container holds its default route: dockerd's order, which each engine has its own of.
import type { BookEndpoint } from "./book.ts";
import type { Engine } from "./engine.ts";

/** IPv6 weighs more than IPv4 (libnetwork Endpoint.Less, 20.10 and 26.1). */
const familyWeight = (endpoint: BookEndpoint): number =>
  (endpoint.gateway === undefined ? 0 : 1) + (endpoint.gatewayIPv6 === undefined ? 0 : 2);

const familyCount = (endpoint: BookEndpoint): number =>
  Number(endpoint.gateway !== undefined) + Number(endpoint.gatewayIPv6 !== undefined);

/** The endpoints as dockerd sorts them, the preferred gateway first. */
export function sorted(engine: Engine, endpoints: readonly BookEndpoint[]): BookEndpoint[] {
  return endpoints.toSorted((a, b) => {
    const priority = engine.gatewayPerFamily ? b.gwPriority - a.gwPriority : 0;
    const internal = Number(a.network.internal) - Number(b.network.internal);
    const weight = engine.gatewayPerFamily ? familyCount(b) - familyCount(a) : familyWeight(b) - familyWeight(a);
    return priority || internal || weight || (a.network.name < b.network.name ? -1 : 1);
  });
}

/** The endpoints that carry the default routes: one, or from 28 on one for each family. */
export function chooseGateways(engine: Engine, endpoints: readonly BookEndpoint[]): BookEndpoint[] {
  const order = sorted(engine, endpoints);
  if (!engine.gatewayPerFamily) {
    // Before 28 only an IPv4 gateway counts (libnetwork default_gateway.go).
    return order.filter((endpoint) => endpoint.gateway !== undefined).slice(0, 1);
  }
  const dual = order.find((endpoint) => familyCount(endpoint) === 2);
  if (dual) return [dual];
  const four = order.find((endpoint) => endpoint.gateway !== undefined);
  const six = order.find((endpoint) => endpoint.gatewayIPv6 !== undefined);
  return [four, six].filter((endpoint) => endpoint !== undefined);
}

/** A default route among the static routes, by a next hop, which spares the container docker_gwbridge. */
export const hasDefaultRoute = ({ routes }: BookEndpoint): boolean =>
  routes.some(({ destination, nextHop }) => destination === "0.0.0.0/0" && nextHop !== undefined);

/** Whether dockerd attaches docker_gwbridge to a container with these endpoints. */
export function needsGwbridge(engine: Engine, endpoints: readonly BookEndpoint[]): boolean {
  const reachesOut = (endpoint: BookEndpoint): boolean =>
    endpoint.gateway !== undefined || (engine.gatewayPerFamily && endpoint.gatewayIPv6 !== undefined);
  if (endpoints.some(reachesOut)) return false;
  return endpoints.some(
    (endpoint) => !endpoint.network.internal && !endpoint.disableGatewayService && !hasDefaultRoute(endpoint),
  );
}
