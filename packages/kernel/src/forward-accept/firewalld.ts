// Our links in a zone of firewalld's: what links that are in none send to others or to the host, it rejects.
import { isKernelError, KernelError } from "../kernel-error.ts";
import type { Nftables } from "../kernel.ts";
import { runProgram } from "../process.ts";

/** Where firewalld tells its zones apart, with one rule a link or more: as of 2.5, as of 2.0, and before; or wherever. */
const PLACES = [
  "chain inet firewalld filter_INPUT_dispatch",
  "chain inet firewalld filter_INPUT_POLICIES",
  "chain inet firewalld filter_INPUT_ZONES",
  "table inet firewalld",
];

/** Where Docker 20.10 and later puts its bridges, and what firewalld has for hosts where Docker made no such zone. */
const ZONES = ["docker", "trusted"];

/** After a refusal; firewall-cmd takes a fifth of a second of a processor's time. */
const REST_MS = 30_000;

export class Firewalld {
  readonly #nftables: Nftables;
  /** What we put there, so that nothing stays of links that are gone. */
  readonly #bound = new Set<string>();
  #refusal: { readonly error: KernelError; readonly at: number } | undefined;

  constructor(nftables: Nftables) {
    this.#nftables = nftables;
  }

  /**
   * Puts links into the zone of Docker's own bridges, unless they are in one: an administrator's choice stands. It holds until
   * firewalld ends, over reloads too, or the link is none of `links` any more. Does nothing where firewalld does not run, or writes its rules for iptables.
   * @param links names, or beginnings of names that end in `+`
   * @returns whether there was anything to do
   * @throws KernelError when firewalld refuses, or firewall-cmd is missing
   */
  async ensure(links: readonly string[]): Promise<boolean> {
    const rules = await this.#rules();
    if (rules === undefined) return false;
    await this.remove([...this.#bound].filter((link) => !links.includes(link)));
    const unknown = links.filter((link) => !rules.includes(JSON.stringify(link.replace(/\+$/, "*"))));
    if (unknown.length === 0) return false;
    if (this.#refusal && performance.now() - this.#refusal.at < REST_MS) throw this.#refusal.error;
    try {
      for (const link of unknown) {
        await bind(link);
        this.#bound.add(link);
      }
      this.#refusal = undefined;
      return true;
    } catch (error) {
      if (isKernelError(error)) this.#refusal = { error, at: performance.now() };
      throw error;
    }
  }

  /** Takes back what `ensure` did; what is in no zone, or firewalld out of the way, is no error. */
  async remove(links: readonly string[]): Promise<void> {
    if (links.length === 0 || (await this.#rules()) === undefined) return;
    for (const link of links) {
      this.#bound.delete(link);
      for (const zone of ZONES) await runProgram("firewall-cmd", [`--zone=${zone}`, `--remove-interface=${link}`]);
    }
  }

  /** As JSON; undefined without firewalld. */
  async #rules(): Promise<string | undefined> {
    for (const place of PLACES) {
      try {
        return JSON.stringify(await this.#nftables.list(`list ${place}`));
      } catch (error) {
        if (!isKernelError(error, "ENOENT")) throw error;
      }
    }
    return undefined;
  }
}

async function bind(link: string): Promise<void> {
  const refusals: string[] = [];
  for (const zone of ZONES) {
    const result = await runProgram("firewall-cmd", [`--zone=${zone}`, `--change-interface=${link}`]);
    if (result === undefined) throw refused(link, "ENOENT", "there is no firewall-cmd here");
    if (result.code === 0) return;
    refusals.push(result.stderr.trim());
    if (!result.stderr.includes("INVALID_ZONE")) break;
  }
  throw refused(link, "EPERM", refusals.join("; "));
}

function refused(link: string, code: string, why: string): KernelError {
  const mend = `firewall-cmd --permanent --zone=trusted --add-interface=${link} && firewall-cmd --reload`;
  const detail = `firewalld rejects what comes from it (${why}); ${mend}`;
  return new KernelError({ operation: "accept forwarding for", device: link, code, detail });
}
