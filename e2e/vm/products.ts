// What users get, as a disk: the drivers as `make install` puts them on a host, a managed plugin, the Debian package.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { must } from "../lab/command.ts";
import { makeDisk } from "./image.ts";
import type { Disk } from "./job.ts";

/** The managed plugin that a machine can be given; one is enough to see that a whole Docker runs it. */
const PLUGIN = "ts-bridge";

/** Makes the disk in `directory`, from the repository as it is now; takes some seconds. */
export async function productsDisk(repository: string, directory: string): Promise<Disk> {
  const staging = await mkdtemp(join(tmpdir(), "portolan-products-"));
  const pack = (script: string, ...words: string[]): Promise<string> =>
    must([process.execPath, "--no-warnings", join(repository, "tools/pack", script), ...words], { timeout: 300 });
  try {
    await pack("install.ts", join(staging, "installed"), "/usr");
    await pack("plugins.ts", "--out", join(staging, "plugins"), PLUGIN);
    await pack("deb.ts", "--out", staging);
    const path = join(directory, "products.ext4");
    await makeDisk(staging, path, "1G");
    return { serial: "products", path };
  } finally {
    await rm(staging, { recursive: true });
  }
}
