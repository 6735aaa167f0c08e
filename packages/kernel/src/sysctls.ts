// Kernel settings, by the files under /proc/sys.
import { readFile, writeFile } from "node:fs/promises";
import { KernelError, systemCode } from "./kernel-error.ts";
import type { Sysctls } from "./kernel.ts";

export class ProcSysctls implements Sysctls {
  async get(path: string): Promise<string | undefined> {
    const operation = "read sysctl";
    try {
      return (await readFile(fileOf(path, operation), "utf8")).trimEnd();
    } catch (error) {
      if (systemCode(error) === "ENOENT") return undefined;
      throw refusal(operation, path, error);
    }
  }

  async set(path: string, value: string): Promise<boolean> {
    const operation = `set sysctl to ${value}:`;
    const file = fileOf(path, operation);
    if ((await this.get(path)) === value) return false;
    try {
      await writeFile(file, value);
      return true;
    } catch (error) {
      throw refusal(operation, path, error);
    }
  }
}

/** @throws KernelError EINVAL for a path that leaves /proc/sys or is written with dots, which names of links may contain */
export function checkSysctlPath(path: string, operation: string): void {
  const parts = path.split("/");
  if (parts.length > 1 && parts.every((part) => part !== "" && part !== "." && part !== "..")) return;
  const detail = "a sysctl is written with slashes, as in net/ipv4/ip_forward";
  throw new KernelError({ operation, device: path, code: "EINVAL", detail });
}

function fileOf(path: string, operation: string): string {
  checkSysctlPath(path, operation);
  return `/proc/sys/${path}`;
}

function refusal(operation: string, device: string, cause: unknown): KernelError {
  if (cause instanceof KernelError) return cause;
  return new KernelError({ operation, device, code: systemCode(cause) ?? "EIO", cause });
}
