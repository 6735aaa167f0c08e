// Kernel settings in memory.
import { KernelError } from "../kernel-error.ts";
import type { Sysctls } from "../kernel.ts";
import { checkSysctlPath } from "../sysctls.ts";
import type { FakeHost } from "./fake-host.ts";

export class FakeSysctls implements Sysctls {
  readonly #host: FakeHost;

  constructor(host: FakeHost) {
    this.#host = host;
  }

  async get(path: string): Promise<string | undefined> {
    checkSysctlPath(path, "read sysctl");
    await this.#host.enter("read sysctl", path);
    return this.#host.sysctls.get(path);
  }

  async set(path: string, value: string): Promise<boolean> {
    const operation = `set sysctl to ${value}:`;
    checkSysctlPath(path, operation);
    await this.#host.enter(operation, path);
    const before = this.#host.sysctls.get(path);
    if (before === undefined) throw new KernelError({ operation, device: path, code: "ENOENT" });
    if (before === value) return false;
    // All settings that this host has are numbers, one or a few.
    if (!/^-?\d+(\s+-?\d+)*$/.test(value)) throw new KernelError({ operation, device: path, code: "EINVAL" });
    this.#host.step(`set sysctl ${path} to ${value}`);
    this.#host.sysctls.set(path, value);
    return true;
  }
}
