// The accept rules beside Docker's FORWARD chain, in memory: a table that others may flush.
import { isKernelError } from "../kernel-error.ts";
import type { ForwardAccept } from "../kernel.ts";
import { checkLinkName } from "../link-name.ts";
import type { FakeHost } from "./fake-host.ts";
import type { FakeNftables } from "./fake-nftables.ts";

/** One chain stands for what the real one keeps in up to four filter tables. */
const CHAIN = "ip filter PORTOLAN-FORWARD";

export class FakeForwardAccept implements ForwardAccept {
  readonly #host: FakeHost;
  readonly #nftables: FakeNftables;

  constructor(host: FakeHost, nftables: FakeNftables) {
    this.#host = host;
    this.#nftables = nftables;
  }

  async ensure(prefix: string): Promise<boolean> {
    const operation = "accept forwarding for";
    checkLinkName(prefix, operation);
    await this.#host.enter(operation, prefix);
    const rule = `iifname "${prefix}*" accept`;
    if (await this.#holds(rule)) return false;
    this.#host.step(`${operation} ${prefix}`);
    this.#nftables.runAsPartOf(
      `add table ip filter\nadd chain ${CHAIN}\nflush chain ${CHAIN}\nadd rule ${CHAIN} ${rule}`,
    );
    return true;
  }

  async remove(): Promise<void> {
    await this.#host.enter("accept forwarding");
    if (!(await this.#holds())) return;
    this.#host.step("accept forwarding no more");
    this.#nftables.runAsPartOf(`delete chain ${CHAIN}`);
  }

  async #holds(rule?: string): Promise<boolean> {
    try {
      const objects = await this.#nftables.list(`list chain ${CHAIN}`);
      return rule === undefined || objects.some((object) => JSON.stringify(object).includes(JSON.stringify(rule)));
    } catch (error) {
      if (isKernelError(error, "ENOENT")) return false;
      throw error;
    }
  }
}
