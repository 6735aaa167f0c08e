// Limits of links, in memory: nothing is slowed down, and tests can look at them.
import { KernelError } from "../kernel-error.ts";
import { checkLinkName } from "../link-name.ts";
import type { Limits, Shaping } from "../shaping.ts";
import type { FakeHost } from "./fake-host.ts";
import { randomMac } from "./fake-links.ts";

export class FakeShaping implements Shaping {
  readonly #host: FakeHost;
  readonly #limits = new WeakMap<object, Limits>();

  constructor(host: FakeHost) {
    this.#host = host;
  }

  async limit(name: string, limits: Limits, helper: { readonly name: string; readonly alias?: string }): Promise<void> {
    const operation = "limit";
    checkLinkName(name, operation);
    await this.#host.enter(operation, name);
    const link = this.#host.links.get(name);
    if (!link) throw new KernelError({ operation, device: name, code: "ENODEV" });
    if (limits.received) {
      checkLinkName(helper.name, "create ifb");
      const found = this.#host.links.get(helper.name);
      if (found && found.kind !== "ifb")
        throw new KernelError({ operation: "create ifb", device: helper.name, code: "EEXIST" });
      if (!found) {
        this.#host.step(`create ifb ${helper.name}`);
        this.#host.addLink({ kind: "ifb", mac: randomMac(), mtu: 1500, up: true, ...helper });
      }
      const ifb = this.#host.links.get(helper.name);
      if (ifb) ifb.isShaped = true;
    }
    this.#host.step(`${operation} ${name}`);
    if (limits.sent) link.isShaped = true;
    this.#limits.set(link, { ...this.#limits.get(link), ...limits });
  }

  async isLed(name: string): Promise<boolean> {
    await this.#host.enter("list filters of", name);
    return this.of(name)?.received !== undefined;
  }

  /** As `tc qdisc delete dev NAME ingress`. */
  unlead(name: string): void {
    const link = this.#host.links.get(name);
    const { received: _, ...rest } = this.of(name) ?? {};
    if (link) this.#limits.set(link, rest);
  }

  /** As `tc qdisc delete dev NAME root`. */
  lift(name: string): void {
    const link = this.#host.links.get(name);
    if (!link) return;
    delete link.isShaped;
    this.#limits.delete(link);
  }

  /** Undefined for a link without limits. */
  of(name: string): Limits | undefined {
    const link = this.#host.links.get(name);
    return link && this.#limits.get(link);
  }
}
