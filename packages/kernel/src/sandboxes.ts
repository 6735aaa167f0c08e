// Containers' network namespaces, by the paths at which dockerd keeps them.
import { existsSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { KernelError, systemCode } from "./kernel-error.ts";

export interface Sandboxes {
  /**
   * Whether a network namespace is mounted there; undefined when the folder is not to be seen, so that nobody can tell. When a
   * sandbox ends, dockerd unmounts it and removes the file; a reboot leaves neither.
   */
  exists(path: string): Promise<boolean | undefined>;
}

/** NSFS_MAGIC of include/uapi/linux/magic.h. */
const NSFS = 0x6e736673;
/** Where a managed plugin has the host's /run/docker. */
const HOST = "/host/run/docker";

export class MountedSandboxes implements Sandboxes {
  async exists(path: string): Promise<boolean | undefined> {
    const file = placeOf(path);
    try {
      return (await statfs(file)).type === NSFS;
    } catch (error) {
      const code = systemCode(error);
      if (code === "ENOENT" || code === "ENOTDIR") return existsSync(dirname(file)) ? false : undefined;
      throw new KernelError({ operation: "look for sandbox", device: path, code: code ?? "EIO", cause: error });
    }
  }
}

function placeOf(path: string): string {
  return existsSync(HOST) ? path.replace(/^(\/var)?\/run\/docker\//, `${HOST}/`) : path;
}
