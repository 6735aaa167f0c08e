// The drivers: what `make up` starts, what the managed plugins, the units and the Debian package are made of.
import { join } from "node:path";

export interface Driver {
  readonly name: string;
  /** What the bundles are made of. */
  readonly source: string;
  /** The same, compiled where it stands. */
  readonly program: string;
  readonly socket: string;
  readonly admin: string;
  readonly stateDir: string;
  readonly pidFile: string;
  readonly log: string;
}

const packages = join(import.meta.dirname, "..", "packages");

/** @param module the file in the package's src/, without its ending */
const driver = (name: string, folder: string, module = "main"): Driver => ({
  name,
  source: join(packages, folder, "src", `${module}.ts`),
  program: join(packages, folder, "dist", `${module}.js`),
  socket: `/run/docker/plugins/${name}.sock`,
  admin: `/run/portolan/${name}.sock`,
  stateDir: `/var/lib/portolan/${name}`,
  pidFile: `/run/portolan/${name}.pid`,
  log: `/var/log/portolan/${name}.log`,
});

export const DRIVERS: readonly Driver[] = [
  driver("ts-bridge", "bridge-plugin"),
  driver("ts-macvlan", "macvlan-plugin", "ts-macvlan"),
  driver("ts-ipvlan", "macvlan-plugin", "ts-ipvlan"),
  driver("ts-overlay", "overlay-plugin"),
  driver("ts-ipam", "ipam-plugin"),
];

/** Flags for Node itself. Calls are small: what V8 keeps for young objects would be 48 MB at most, and has to be 3. */
const NODE_FLAGS: readonly string[] = ["--max-semi-space-size=1"];

/** What a driver's process needs of its environment: without it glibc keeps a heap for each of Node's threads. */
export const ENVIRONMENT: Readonly<Record<string, string>> = { MALLOC_ARENA_MAX: "1" };

/** How a driver is launched, whoever does it: `make up`, systemd, dockerd. */
export function launch(node: string, program: string): readonly [string, ...string[]] {
  return [node, ...NODE_FLAGS, program];
}
