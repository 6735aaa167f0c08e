// The drivers that `make up` starts, and the files by which it finds them again.
import { join } from "node:path";

export interface Driver {
  readonly name: string;
  readonly program: string;
  readonly socket: string;
  readonly admin: string;
  readonly stateDir: string;
  readonly pidFile: string;
  readonly log: string;
}

const packages = join(import.meta.dirname, "..", "packages");

const driver = (name: string, folder: string): Driver => ({
  name,
  program: join(packages, folder, "dist", "main.js"),
  socket: `/run/docker/plugins/${name}.sock`,
  admin: `/run/portolan/${name}.sock`,
  stateDir: `/var/lib/portolan/${name}`,
  pidFile: `/run/portolan/${name}.pid`,
  log: `/var/log/portolan/${name}.log`,
});

export const DRIVERS: readonly Driver[] = [driver("ts-bridge", "bridge-plugin"), driver("ts-ipam", "ipam-plugin")];
