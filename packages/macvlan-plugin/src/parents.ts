// The links that networks hang on: found by their names, or, when somebody renamed them, by what they were.
import type { Kernel, Link } from "@portolan/kernel";
import type { Logger } from "@portolan/sdk";
import type { Records } from "./records.ts";

/** `down`: switched off, or without a carrier. */
export type ParentState = "up" | "down" | "missing";

export interface ParentNews {
  /** Up, and not so at the look before. */
  readonly returned: readonly string[];
  /** Another link than the endpoints hang on, as far as anyone knows. */
  readonly replaced: readonly string[];
}

interface ParentsParts {
  readonly kernel: Kernel;
  readonly records: Records;
  readonly log: Logger;
}

interface Seen {
  readonly state: ParentState;
  readonly index: number | undefined;
  readonly name: string | undefined;
}

export class Parents {
  readonly #parts: ParentsParts;
  readonly #seen = new Map<string, Seen>();

  constructor(parts: ParentsParts) {
    this.#parts = parts;
  }

  /** As of the last look. */
  state(name: string): ParentState | undefined {
    return this.#seen.get(name)?.state;
  }

  /** What the parent is called now, if not so. */
  otherName(name: string): string | undefined {
    const now = this.#seen.get(name)?.name;
    return now === name ? undefined : now;
  }

  /** The link of that name, or that had it when we saw it last; of two, the one that has it now. */
  async find(name: string): Promise<Link | undefined> {
    const { kernel, records } = this.#parts;
    const link = await kernel.links.get(name);
    if (link) return link;
    const before = records.parents.get(name);
    if (!before) return undefined;
    const all = await kernel.links.list();
    // An index may be another link's after a reboot.
    return all.find(({ index, mac, kind }) => index === before.index && mac === before.mac && kind === before.kind);
  }

  /** Whether something has happened to a parent since the last look. Costs a question for each. */
  async haveChanged(): Promise<boolean> {
    for (const name of this.#used()) {
      const link = await this.find(name);
      const seen = this.#seen.get(name);
      if (seen?.state !== stateOf(link) || seen.index !== link?.index || seen.name !== link?.name) return true;
    }
    return false;
  }

  /** Notes how the parents are, tells the log of changes, and the caller of what it has to act on. */
  async look(): Promise<ParentNews> {
    const { records, log } = this.#parts;
    const returned: string[] = [];
    const replaced: string[] = [];
    const used = this.#used();
    for (const name of this.#seen.keys()) if (!used.has(name)) this.#seen.delete(name);
    for (const { id } of records.parents.all) if (!used.has(id)) await records.parents.forget(id);
    for (const name of used) {
      const link = await this.find(name);
      const seen = this.#seen.get(name);
      const state = stateOf(link);
      const before = seen?.state ?? "up";
      if (state !== before) log.warn(`the parent link ${name} is ${state}`);
      if (link && link.name !== (seen?.name ?? name)) log.warn(`the parent link ${name} is called ${link.name} now`);
      if (state === "up" && before !== "up") returned.push(name);
      // At the start nobody knows what happened while we were away.
      if (link && seen?.index !== link.index) replaced.push(name);
      this.#seen.set(name, { state, index: link?.index, name: link?.name });
      if (link) await this.#note(name, link);
    }
    return { returned, replaced };
  }

  async #note(id: string, { index, mac, kind }: Link): Promise<void> {
    const { parents } = this.#parts.records;
    const before = parents.get(id);
    if (before?.index !== index || before.mac !== mac || before.kind !== kind)
      await parents.put({ id, index, mac, kind });
  }

  #used(): ReadonlySet<string> {
    const { networks, links } = this.#parts.records;
    const below = links.all.flatMap(({ make }) => (make.kind === "vlan" ? [make.parent] : []));
    return new Set([...networks.all.map(({ parent }) => parent), ...below]);
  }
}

function stateOf(link: Link | undefined): ParentState {
  if (!link) return "missing";
  return link.up && link.noCarrier !== true ? "up" : "down";
}
