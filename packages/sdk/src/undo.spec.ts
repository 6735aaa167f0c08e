import { PluginError } from "./plugin-error.ts";
import { Undo } from "./undo.ts";

/** Three steps, then what `end` does; tells which inverses ran. */
async function threeSteps(end: (undo: Undo) => void, failing: readonly string[] = []): Promise<string[]> {
  const ran: string[] = [];
  const attempt = async () => {
    await using undo = new Undo();
    for (const step of ["link", "address", "rule"]) {
      undo.add(`delete ${step}`, () => {
        ran.push(step);
        if (failing.includes(step)) throw new Error(`${step} is busy`);
      });
    }
    end(undo);
  };
  await attempt();
  return ran;
}

const fail = () => {
  throw new PluginError("no route to 10.0.0.1", { hint: "Check the subnet." });
};

test("committed steps stand", async () => {
  await expect(threeSteps((undo) => undo.commit())).resolves.toEqual([]);
});

test("without a commit the inverses run, last step first", async () => {
  await expect(threeSteps(() => undefined)).resolves.toEqual(["rule", "address", "link"]);
});

test("the error that began it is thrown as it was", async () => {
  await expect(threeSteps(fail)).rejects.toThrow("no route to 10.0.0.1. Check the subnet.");
});

test("an inverse that fails does not keep the others from running, and is told of after the first error", async () => {
  const ran: string[] = [];
  const attempt = async () => {
    await using undo = new Undo();
    undo.add("delete link", () => void ran.push("link"));
    undo.add("delete address", () => Promise.reject(new Error("address is busy")));
    undo.add("delete rule", () => void ran.push("rule"));
    fail();
  };
  const thrown: unknown = await attempt().catch((error: unknown) => error);
  expect(ran).toEqual(["rule", "link"]);
  expect(PluginError.from(thrown, { op: "create endpoint" }).message).toBe(
    "create endpoint: no route to 10.0.0.1; afterwards undoing left something behind: could not delete address: address is busy. Check the subnet.",
  );
});

test("all failures are told of", async () => {
  await expect(threeSteps(() => undefined, ["link", "rule"])).rejects.toThrow(
    /could not delete rule: rule is busy; could not delete link: link is busy/,
  );
});

test("an inverse that would never run is refused", async () => {
  await using undo = new Undo();
  undo.commit();
  expect(() => undo.add("delete link", () => undefined)).toThrow(/too late/);
});
