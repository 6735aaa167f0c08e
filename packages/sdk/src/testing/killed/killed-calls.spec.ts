import { KeyedLocks } from "../../locks.ts";
import type { LifeCall } from "./container-life.ts";
import { KilledCalls, type KilledHost } from "./killed-calls.ts";
import type { Lifetime } from "./lifetime.ts";
import { Lives, type Living } from "./lives.ts";

const nothing = () => Promise.resolve();

/** A driver that makes one thing, in two halves, and knows from its record what there may be of it. */
class Driver implements Living {
  readonly locks = new KeyedLocks();
  readonly look = nothing;
  readonly #host: Host;
  readonly #life: Lifetime;

  constructor(host: Host, life: Lifetime) {
    this.#host = host;
    this.#life = life;
  }

  async start(): Promise<void> {
    const { world, fault } = this.#host;
    if (this.#host.record !== "intent") return;
    if (fault !== "forgets at its start") for (const half of [...world]) this.#step(() => world.delete(half));
    this.#step(() => (this.#host.record = undefined));
    await nothing();
  }

  async make(): Promise<void> {
    const { world, fault } = this.#host;
    if (this.#host.record === "made") return;
    this.#step(() => (this.#host.record = "intent"));
    try {
      for (const half of ["left", "right"]) this.#step(() => world.add(half));
      this.#step(() => (this.#host.record = "made"));
    } catch (error) {
      if (fault !== "forgets when it fails") for (const half of [...world]) this.#step(() => world.delete(half));
      this.#step(() => (this.#host.record = undefined));
      throw error;
    }
    await nothing();
  }

  async remove(): Promise<void> {
    const { world, fault } = this.#host;
    if (this.#host.record === undefined) return;
    const isForgetful = fault === "forgets what it removes";
    if (isForgetful) this.#step(() => (this.#host.record = undefined));
    for (const half of [...world]) this.#step(() => world.delete(half));
    if (!isForgetful) this.#step(() => (this.#host.record = undefined));
    await nothing();
  }

  #step(change: () => unknown): void {
    this.#life.onStep("before a change");
    change();
  }
}

class Host implements KilledHost {
  readonly lives = new Lives<Driver>({ open: (life) => Promise.resolve(new Driver(this, life)), letGo: nothing });
  readonly world = new Set<string>();
  record: "intent" | "made" | undefined;
  readonly fault: string;
  readonly leave = nothing;
  readonly deleteEndpoint = nothing;
  readonly deleteNetwork = nothing;
  readonly moveToSandbox = nothing;
  readonly moveHome = nothing;

  constructor(fault: string) {
    this.fault = fault;
  }
}

const LIFE: readonly LifeCall<Host>[] = [
  { name: "Make", run: ({ lives }) => lives.driver.make(), onFailure: ["Remove"] },
  { name: "Remove", run: ({ lives }) => lives.driver.remove(), onFailure: ["Remove"] },
];

async function killedCalls(fault = "none"): Promise<KilledCalls<Host>> {
  const host = new Host(fault);
  await host.lives.start();
  return new KilledCalls({
    host: () => host,
    life: LIFE,
    expectNoEndpoint: nothing,
    async expectNothing() {
      await nothing();
      expect({ world: [...host.world], record: host.record }).toEqual({ world: [], record: undefined });
    },
  });
}

describe("a driver, killed at every step,", () => {
  test("which leaves nothing passes, with as many deaths as its calls have steps", async () => {
    const killed = await killedCalls();
    expect([await killed.repeat("Make"), await killed.repeat("Remove")]).toEqual([4, 3]);
    expect([await killed.giveUp("Make", nothing), await killed.giveUp("Remove", nothing)]).toEqual([4, 3]);
    expect(await killed.undo("Make")).toBe(4);
  });

  test.each([
    ["forgets at its start", "giveUp", "Make"],
    ["forgets what it removes", "giveUp", "Remove"],
    ["forgets what it removes", "repeat", "Remove"],
    ["forgets when it fails", "undo", "Make"],
  ] as const)("which %s is found by %s of %s", async (fault, row, name) => {
    const killed = await killedCalls(fault);
    const found = row === "giveUp" ? killed.giveUp(name, nothing) : killed[row](name);
    await expect(found).rejects.toThrow(/left|right/);
  });

  test("whose steps have no end is no endless loop", async () => {
    const host = new Host("none");
    await host.lives.start();
    const work = async () => {
      for (;;) {
        host.lives.life.onStep("one more");
        await nothing();
      }
    };
    await expect(host.lives.atEveryStep(work, nothing)).rejects.toThrow("there is no end of steps: one more");
  });
});
