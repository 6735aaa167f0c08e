// What users get, as a disk: the drivers as `make install` puts them on a host, managed plugins, the Debian package.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { must } from "../lab/command.ts";
import { makeDisk } from "./image.ts";
import type { Disk } from "./job.ts";

/** The managed plugins that a machine is given: one to see that a whole Docker runs it, one that needs the whole kernel, a swarm's. */
const PLUGINS = ["ts-bridge", "ts-ipvlan", "ts-overlay", "ts-ipam"];

/** Makes the disk in `directory`, from the repository as it is now; takes some seconds. */
export async function productsDisk(repository: string, directory: string): Promise<Disk> {
  const staging = await mkdtemp(join(tmpdir(), "portolan-products-"));
  const pack = (script: string, ...words: string[]): Promise<string> =>
    must([process.execPath, "--no-warnings", join(repository, "tools/pack", script), ...words], { timeout: 300 });
  try {
    await pack("install.ts", join(staging, "installed"), "/usr");
    await pack("plugins.ts", "--out", join(staging, "plugins"), ...PLUGINS);
    await pack("deb.ts", "--out", staging);
    const path = join(directory, "products.ext4");
    await makeDisk(staging, path, "2G");
    return { serial: "products", path };
  } finally {
    await rm(staging, { recursive: true });
  }
}
