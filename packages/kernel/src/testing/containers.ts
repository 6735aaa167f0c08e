// Containers without anything that runs in them: their network namespaces, and what dockerd does with their links.
import type { Kernel } from "../kernel.ts";
import { shell } from "./command.ts";
import { makeNetns, type Netns } from "./netns.ts";

export class Containers implements AsyncDisposable {
  readonly #kernel: Kernel;
  readonly #namespaces = new Map<string, Netns>();

  private constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  /** @param kernel not that of a driver which dies */
  static async make(kernel: Kernel, ...names: readonly string[]): Promise<Containers> {
    const made = new Containers(kernel);
    for (const name of names) made.#namespaces.set(name, await makeNetns());
    return made;
  }

  get names(): readonly string[] {
    return [...this.#namespaces.keys()];
  }

  at(name: string): Netns {
    const namespace = this.#namespaces.get(name);
    if (!namespace) throw new Error(`there is no container ${name} among ${this.names.join(", ")}`);
    return namespace;
  }

  /** What a container has, but for loopback. */
  async inside(name: string): Promise<readonly string[]> {
    await using sandbox = await this.#kernel.sandboxes.open(this.at(name).path);
    return (await sandbox.links.list()).map((link) => link.name).filter((link) => link !== "lo");
  }

  /** As dockerd does after Join, if the link is there. @param cidrs what it is to have inside, where it is called eth0 */
  async moveIn(name: string, link: string, ...cidrs: readonly string[]): Promise<void> {
    const { links, sandboxes } = this.#kernel;
    if (!(await links.get(link))) return;
    await using sandbox = await sandboxes.open(this.at(name).path);
    await sandbox.take(link, "eth0");
    await sandbox.links.change("eth0", { up: true });
    for (const cidr of cidrs) await sandbox.addresses.add("eth0", cidr);
  }

  /** As dockerd does after Leave. */
  async moveOut(name: string, link: string): Promise<void> {
    // Not by this process's number: it is in a sandbox itself for the moment in which it opens a socket there.
    const home = "exec 3</proc/self/ns/net && ip -n";
    await shell(`${home} ${this.at(name).name} link set eth0 netns /proc/self/fd/3 name ${link}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const namespace of this.#namespaces.values()) await namespace[Symbol.asyncDispose]();
  }
}
