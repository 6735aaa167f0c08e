// The rules that hold for every network driver, held against a swarm's node without etcd, which is its manager as well: a
// network is allocated before it is made, and freed when it has gone.
import type { NetworkDriver, NetworkId } from "@portolan/sdk";
import { conformance } from "@portolan/sdk/testing";
import { ConformanceHost } from "../testing/conformance-host.ts";

/** A swarm's ids are shorter. */
const asSwarms = <Request extends { readonly networkId: NetworkId }>(request: Request): Request => ({
  ...request,
  networkId: request.networkId.slice(0, 25) as NetworkId,
});

function asNode(driver: NetworkDriver): NetworkDriver {
  return {
    capabilities: driver.capabilities,
    async createNetwork(request, call) {
      const asked = asSwarms(request);
      const { driverOpts } = asked.options;
      const options = await driver.allocateNetwork?.({ ...asked, options: driverOpts }, call);
      await driver.createNetwork({ ...asked, options: { ...asked.options, driverOpts: options ?? {} } }, call);
    },
    async deleteNetwork(request, call) {
      await driver.deleteNetwork(asSwarms(request), call);
      await driver.freeNetwork?.(asSwarms(request), call);
    },
    createEndpoint: (request, call) => driver.createEndpoint(asSwarms(request), call),
    deleteEndpoint: (request, call) => driver.deleteEndpoint(asSwarms(request), call),
    join: (request, call) => driver.join(asSwarms(request), call),
    leave: (request, call) => driver.leave(asSwarms(request), call),
  };
}

const refusedOptions = [
  { encrypted: "true" },
  { "portolan.service-range": "10.9.255.0/24" },
  { "portolan.gateway": "own" },
  { "portolan.peer-timeout": "5m" },
];

conformance("ts-overlay in a swarm without etcd", () => ConformanceHost.boot(asNode), { refusedOptions, ipv6: false });
