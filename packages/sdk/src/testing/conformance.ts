// What every driver package runs against its own driver: the checks, registered as jest tests.
import { ipamChecks } from "./conformance/ipam-checks.ts";
import { ipamCrashChecks } from "./conformance/ipam-crash-checks.ts";
import { networkChecks } from "./conformance/network-checks.ts";
import type { Check } from "./conformance/network-checks.ts";
import { networkCrashChecks } from "./conformance/network-crash-checks.ts";
import { networkDaemonChecks } from "./conformance/network-daemon-checks.ts";
import type { HostFactory, IpamConformanceOptions, NetworkConformanceOptions } from "./conformance/subject.ts";

/** Every rule for network drivers, to be run one by one outside jest. */
export const allNetworkChecks: readonly Check<NetworkConformanceOptions>[] = [
  ...networkChecks,
  ...networkCrashChecks,
  ...networkDaemonChecks,
];

/** Every rule for IPAM drivers. */
export const allIpamChecks: readonly Check<IpamConformanceOptions>[] = [...ipamChecks, ...ipamCrashChecks];

/** The crash checks go through hundreds of lives. */
const PATIENCE_MS = 120_000;

/**
 * Registers a jest test for each rule that a network driver must hold to. To be called where `describe` may be.
 *
 * @param name the driver's
 * @param factory makes a host on which nothing has happened; each test asks for several
 */
export function conformance(name: string, factory: HostFactory, options: NetworkConformanceOptions = {}): void {
  register(name, factory, options, allNetworkChecks);
}

/** The same for an IPAM driver. */
export function conformanceIpam(name: string, factory: HostFactory, options: IpamConformanceOptions = {}): void {
  register(name, factory, options, allIpamChecks);
}

// Jest's functions are globals there, so that nothing here needs jest to be imported.
function register<Options>(
  name: string,
  factory: HostFactory,
  options: Options,
  checks: readonly Check<Options>[],
): void {
  if (typeof describe !== "function") {
    throw new Error(
      "conformance() registers jest tests. Outside jest, run allNetworkChecks or allIpamChecks one by one.",
    );
  }
  describe(`${name} conforms: it`, () => {
    test.each(checks)("$name", (check) => check.run(factory, options), PATIENCE_MS);
  });
}
