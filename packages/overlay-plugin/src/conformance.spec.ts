// The rules that hold for every network driver, held against this one: repetitions, crashes at every step, whole engines.
// Steps are those of the kernel, of this host's records and of the cluster's store. Where a network's own gateway is its way out,
// ports that containers publish are among them.
import { conformance } from "@portolan/sdk/testing";
import { ConformanceHost } from "./testing/conformance-host.ts";

const refusedOptions = [
  { "com.docker.network.driver.mtu": "67" },
  { "com.docker.network.driver.no_such_option": "1" },
  { "portolan.no_such_option": "1" },
  { "portolan.vxlan-port": "80" },
  { "portolan.gateway": "none" },
];

conformance("ts-overlay", () => ConformanceHost.boot(), { refusedOptions });
conformance("ts-overlay with a network's own gateway", () => ConformanceHost.boot(), {
  networkOptions: { "portolan.gateway": "own" },
  internal: false,
});
