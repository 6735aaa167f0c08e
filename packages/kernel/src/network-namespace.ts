// Other network namespaces than our own, entered for a moment: what is opened inside belongs there for good.
import { closeSync, openSync } from "node:fs";
import { KernelError, systemCode } from "./kernel-error.ts";
import { enterNetworkNamespace } from "./libc.ts";

const OWN = "/proc/thread-self/ns/net";

/**
 * Calls `work` with this thread in the namespace at `path`. Other threads, which do the work of asynchronous calls, stay
 * where they are, so `work` must be synchronous.
 * @throws KernelError EPERM without CAP_SYS_ADMIN, ENOENT, EINVAL for what is no network namespace; and what `work` throws
 */
export function inNetworkNamespace<T>(path: string, work: () => T): T {
  const there = open(path);
  try {
    const home = open(OWN);
    try {
      enterNetworkNamespace(there, path);
      try {
        return work();
      } finally {
        goHome(home);
      }
    } finally {
      closeSync(home);
    }
  } finally {
    closeSync(there);
  }
}

/** Whatever we did next would be done to a container instead of the host. */
function goHome(home: number): void {
  try {
    enterNetworkNamespace(home, OWN);
  } catch (error) {
    process.stderr.write(`cannot return to the host's network namespace: ${String(error)}\n`);
    process.exit(1);
  }
}

function open(path: string): number {
  try {
    return openSync(path, "r");
  } catch (error) {
    const code = systemCode(error) ?? "EIO";
    throw new KernelError({ operation: "open network namespace", device: path, code, cause: error });
  }
}
