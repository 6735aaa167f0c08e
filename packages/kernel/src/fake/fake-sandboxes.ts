// Containers' network namespaces in memory, as far as links that hang on the host's are in them.
import { KernelError } from "../kernel-error.ts";
import type { Sandbox, Sandboxes } from "../sandboxes.ts";
import { FakeAddresses, FakeRoutes } from "./fake-addresses.ts";
import { FakeConntrack } from "./fake-conntrack.ts";
import type { FakeHost } from "./fake-host.ts";
import { FakeLinks } from "./fake-links.ts";
import { FakeNftables } from "./fake-nftables.ts";
import { FakeShaping } from "./fake-shaping.ts";

export class FakeSandboxes implements Sandboxes {
  /** What `mayOpen` says, for tests of drivers that may not. */
  areLocked = false;
  readonly #host: FakeHost;
  /** One for each sandbox, since they keep what they are told. */
  readonly #routes = new WeakMap<FakeHost, FakeRoutes>();
  readonly #shaping = new WeakMap<FakeHost, FakeShaping>();
  readonly #nftables = new WeakMap<FakeHost, FakeNftables>();

  constructor(host: FakeHost) {
    this.#host = host;
  }

  async exists(path: string): Promise<boolean> {
    await this.#host.enter("look for sandbox", path);
    return this.#host.sandboxes.has(path);
  }

  mayOpen(): Promise<boolean> {
    return Promise.resolve(!this.areLocked);
  }

  /** The limits in a sandbox; undefined when there is none. */
  shapingIn(path: string): FakeShaping | undefined {
    const inside = this.#host.sandboxes.get(path);
    if (!inside) return undefined;
    const shaping = this.#shaping.get(inside) ?? new FakeShaping(inside);
    this.#shaping.set(inside, shaping);
    return shaping;
  }

  async open(path: string): Promise<Sandbox> {
    await this.#host.enter("open network namespace", path);
    const inside = this.#host.sandboxes.get(path);
    if (!inside) throw new KernelError({ operation: "open network namespace", device: path, code: "ENOENT" });
    const links = new FakeLinks(inside);
    const routes = this.#routes.get(inside) ?? new FakeRoutes(inside);
    this.#routes.set(inside, routes);
    const shaping = this.shapingIn(path) ?? new FakeShaping(inside);
    const nftables = this.#nftables.get(inside) ?? new FakeNftables(inside);
    this.#nftables.set(inside, nftables);
    return {
      links,
      addresses: new FakeAddresses(inside, links),
      routes,
      shaping,
      nftables,
      conntrack: new FakeConntrack(inside),
      setIPv6: () => Promise.resolve(),
      take: async (name, as) => {
        const operation = "move into sandbox link";
        await this.#host.enter(operation, name);
        const link = this.#host.links.get(name);
        if (!link) throw new KernelError({ operation, device: name, code: "ENODEV" });
        if (inside.links.has(as)) throw new KernelError({ operation, device: name, code: "EEXIST" });
        this.#host.step(`${operation} ${name}`);
        this.#host.moveInto(path, link, as);
      },
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
  }
}
