import { silentLogger } from "./logger.ts";
import { Undertaker, type Buriable, type SignOfDeath } from "./undertaker.ts";
import type { EndpointId, NetworkId } from "./values.ts";

const IMPATIENT = { secondLookMs: 0, lookMs: 0, missingMs: 0, homeMs: 0 };

/** Endpoints of one network whose signs the test sets. */
class Graveyard {
  readonly records = new Map<EndpointId, Buriable>();
  readonly signs = new Map<EndpointId, SignOfDeath>();
  readonly buried: EndpointId[] = [];
  /** Happens when the lock is had. */
  meanwhile = (): void => undefined;
  readonly #undertaker: Undertaker<Buriable>;

  constructor(patience = IMPATIENT) {
    this.#undertaker = new Undertaker<Buriable>({
      patience,
      log: silentLogger,
      reasons: { missing: "it has gone", home: "nobody has it" },
      find: (id) => this.records.get(id),
      signOf: ({ id }) => Promise.resolve(this.signs.get(id)),
      alone: (_endpoint, work) => {
        this.meanwhile();
        return work();
      },
      bury: ({ id }) => {
        this.records.delete(id);
        this.buried.push(id);
        return Promise.resolve();
      },
    });
  }

  add(name: string, sign?: SignOfDeath, progress = "made"): EndpointId {
    const id = name as EndpointId;
    this.records.set(id, { id, network: "net" as NetworkId, progress });
    if (sign) this.signs.set(id, sign);
    return id;
  }

  look(): Promise<void> {
    return this.#undertaker.look([...this.records.values()], ({ id }) => this.signs.get(id));
  }
}

describe("an undertaker", () => {
  it("buries what looks dead at two looks, and nothing else", async () => {
    const graveyard = new Graveyard();
    const dead = [graveyard.add("gone", "missing"), graveyard.add("left", "home")];
    graveyard.add("alive");
    graveyard.add("half made", "missing", "intent");
    graveyard.add("going", "missing", "removing");
    await graveyard.look();
    expect(graveyard.buried).toEqual([]);
    await graveyard.look();
    expect(graveyard.buried).toEqual(dead);
  });

  it("waits as long as the sign asks for", async () => {
    const graveyard = new Graveyard({ ...IMPATIENT, homeMs: 60_000 });
    const gone = graveyard.add("gone", "missing");
    graveyard.add("left", "home");
    for (let looks = 0; looks < 3; looks += 1) await graveyard.look();
    expect(graveyard.buried).toEqual([gone]);
  });

  it.each<[string, SignOfDeath | undefined, SignOfDeath]>([
    ["was alive in between", undefined, "missing"],
    ["looked dead in another way", "home", "missing"],
  ])("begins anew with one that %s", async (_what, between, then) => {
    const graveyard = new Graveyard();
    const id = graveyard.add("one", "missing");
    await graveyard.look();
    if (between) graveyard.signs.set(id, between);
    else graveyard.signs.delete(id);
    await graveyard.look();
    graveyard.signs.set(id, then);
    await graveyard.look();
    expect(graveyard.buried).toEqual([]);
    await graveyard.look();
    expect(graveyard.buried).toEqual([id]);
  });

  it.each<[string, (graveyard: Graveyard) => void]>([
    ["has another record", (graveyard) => void graveyard.add("one", "missing")],
    ["has none", (graveyard) => graveyard.records.clear()],
    ["lives", (graveyard) => graveyard.signs.clear()],
  ])("spares one that %s once no call is under way", async (_what, happens) => {
    const graveyard = new Graveyard();
    graveyard.add("one", "missing");
    await graveyard.look();
    graveyard.meanwhile = () => happens(graveyard);
    await graveyard.look();
    expect(graveyard.buried).toEqual([]);
  });
});
