// Containers' network namespaces, by the paths at which dockerd keeps them.
import { statfs } from "node:fs/promises";
import { KernelError, systemCode } from "./kernel-error.ts";

export interface Sandboxes {
  /**
   * Whether a network namespace is mounted there. When a sandbox ends, dockerd unmounts it and removes the file; a reboot
   * leaves neither.
   */
  exists(path: string): Promise<boolean>;
}

/** NSFS_MAGIC of include/uapi/linux/magic.h. */
const NSFS = 0x6e736673;

export class MountedSandboxes implements Sandboxes {
  async exists(path: string): Promise<boolean> {
    try {
      return (await statfs(path)).type === NSFS;
    } catch (error) {
      const code = systemCode(error);
      if (code === "ENOENT" || code === "ENOTDIR") return false;
      throw new KernelError({ operation: "look for sandbox", device: path, code: code ?? "EIO", cause: error });
    }
  }
}
