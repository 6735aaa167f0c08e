// Kernel settings, by the files under /proc/sys.
import { existsSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { KernelError, systemCode } from "./kernel-error.ts";
import type { Sysctls } from "./kernel.ts";

const OWN = "/proc/sys";

/** Where a managed plugin has the host's network settings: no container may write to those in its own /proc. */
const MOUNTED = "/host/proc/sys";

export class ProcSysctls implements Sysctls {
  readonly #mounted: string;

  constructor(mounted = MOUNTED) {
    this.#mounted = mounted;
  }

  /** The kernel answers from its memory, in a tenth of the time that a thread of the pool takes to ask. */
  // eslint-disable-next-line @typescript-eslint/require-await -- refusals must be rejections
  async get(path: string): Promise<string | undefined> {
    const operation = "read sysctl";
    try {
      return readFileSync(this.#fileOf(path, operation), "utf8").trimEnd();
    } catch (error) {
      if (systemCode(error) === "ENOENT") return undefined;
      throw refusal(operation, path, error);
    }
  }

  async set(path: string, value: string): Promise<boolean> {
    const operation = `set sysctl to ${value}:`;
    const file = this.#fileOf(path, operation);
    if ((await this.get(path)) === value) return false;
    try {
      await writeFile(file, value);
      return true;
    } catch (error) {
      throw refusal(operation, path, error);
    }
  }

  #fileOf(path: string, operation: string): string {
    checkSysctlPath(path, operation);
    const [area = ""] = path.split("/", 1);
    return join(existsSync(join(this.#mounted, area)) ? this.#mounted : OWN, path);
  }
}

/** @throws KernelError EINVAL for a path that leaves /proc/sys or is written with dots, which names of links may contain */
export function checkSysctlPath(path: string, operation: string): void {
  const parts = path.split("/");
  if (parts.length > 1 && parts.every((part) => part !== "" && part !== "." && part !== "..")) return;
  const detail = "a sysctl is written with slashes, as in net/ipv4/ip_forward";
  throw new KernelError({ operation, device: path, code: "EINVAL", detail });
}

function refusal(operation: string, device: string, cause: unknown): KernelError {
  if (cause instanceof KernelError) return cause;
  return new KernelError({ operation, device, code: systemCode(cause) ?? "EIO", cause });
}
