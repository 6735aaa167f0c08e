// A host in memory for the kit's own tests: records that outlive a process, and things that stand for kernel objects.
import type { CrashPoints } from "../conformance/subject.ts";

export class MemoryHost<Row> {
  readonly records = new Map<string, Row>();
  readonly kernel = new Set<string>();

  inventory(): string[] {
    return [...[...this.records.keys()].map((key) => `record ${key}`), ...this.kernel].toSorted();
  }

  reboot(): void {
    this.kernel.clear();
  }
}

/** One process's hands on the host. Every step can be its last. */
export class MemoryProcess<Row> {
  readonly #host: MemoryHost<Row>;
  readonly #crashPoints: CrashPoints;

  constructor(host: MemoryHost<Row>, crashPoints: CrashPoints) {
    this.#host = host;
    this.#crashPoints = crashPoints;
  }

  get records(): ReadonlyMap<string, Row> {
    return this.#host.records;
  }

  /** All or nothing; undefined removes a record. */
  async commit(changes: Readonly<Record<string, Row | undefined>>): Promise<void> {
    await Promise.resolve();
    const names = Object.keys(changes).join(", ");
    this.#crashPoints.reach(`before commit of ${names}`);
    for (const [key, row] of Object.entries(changes)) {
      if (row === undefined) this.#host.records.delete(key);
      else this.#host.records.set(key, row);
    }
    this.#crashPoints.reach(`after commit of ${names}`);
  }

  async make(thing: string): Promise<void> {
    await Promise.resolve();
    if (this.#host.kernel.has(thing)) return;
    this.#crashPoints.reach(`make ${thing}`);
    this.#host.kernel.add(thing);
  }

  async remove(thing: string): Promise<void> {
    await Promise.resolve();
    if (!this.#host.kernel.has(thing)) return;
    this.#crashPoints.reach(`remove ${thing}`);
    this.#host.kernel.delete(thing);
  }
}
