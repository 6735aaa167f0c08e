// Restarts and crashes: between any two calls, and at every step within every call.
import assert from "node:assert/strict";
import { isDelete, networkLife } from "./network-life.ts";
import type { Step } from "./network-life.ts";
import { mustDo } from "./network-checks.ts";
import type { Check } from "./network-checks.ts";
import { Rig } from "./rig.ts";
import type { HostFactory, NetworkConformanceOptions } from "./subject.ts";

/** More steps than this within one call are taken for a loop. */
const MOST_STEPS = 500;

type Options = NetworkConformanceOptions;

const restarts: Check<Options> = {
  name: "goes on after an orderly restart between any two calls",
  async run(factory, options) {
    await using rig = await Rig.open(factory);
    for (const step of networkLife(options)) {
      await mustDo(rig, step);
      await rig.restart();
    }
    await rig.mustLeaveNothing("after a life with a restart after every call");
  },
};

const kills: Check<Options> = {
  name: "goes on after kill -9 between any two calls",
  async run(factory, options) {
    await using rig = await Rig.open(factory);
    for (const step of networkLife(options)) {
      await mustDo(rig, step);
      await rig.killAndStart();
    }
    await rig.mustLeaveNothing("after a life with kill -9 after every call");
  },
};

const killsThenRepeats: Check<Options> = {
  name: "finishes a call that is repeated after kill -9 at any step of it",
  async run(factory, options) {
    await atEveryStep(factory, networkLife(options), async (rig, life, at) => {
      for (const step of life.slice(at)) await mustDo(rig, step);
    });
  },
};

const killsThenGivesUp: Check<Options> = {
  name: "leaves nothing after kill -9 at any step of a call that dockerd then gives up",
  async run(factory, options) {
    await atEveryStep(factory, networkLife(options), async (rig, life, at) => {
      for (const step of afterFailure(life, at)) await mustDo(rig, step);
    });
  },
};

const reboots: Check<Options> = {
  name: "rebuilds its networks at its start after a reboot, killed at any step of that or not",
  async run(factory, options) {
    const life = networkLife(options);
    const [createNetwork, ...making] = life.filter((step) => !isDelete(step));
    const [deleteNetwork, ...unmaking] = life.filter(isDelete).reverse();
    assert.ok(createNetwork && deleteNetwork);
    for (let at = 0; at <= MOST_STEPS; at += 1) {
      await using rig = await Rig.open(factory);
      if (!rig.host.reboot) return;
      await mustDo(rig, createNetwork);
      const network = await rig.host.inventory();
      for (const step of making) await mustDo(rig, step);
      await rig.kill();
      await rig.host.reboot();
      const died = await rig.startAndDieAt(at);
      if (died !== undefined) await rig.start();
      // The containers went down with the host, so that their endpoints need not be there. Networks must be.
      const rebuilt = new Set(await rig.host.inventory());
      const lost = network.filter((item) => !rebuilt.has(item));
      assert.deepEqual(lost, [], `after a reboot, this was not rebuilt: ${lost.join("; ")}`);
      // dockerd cleans up after them, and then starts those with a restart policy anew.
      for (const step of unmaking.toReversed()) await mustDo(rig, step);
      for (const step of [...making, ...unmaking.toReversed(), deleteNetwork]) await mustDo(rig, step);
      await rig.mustLeaveNothing(`after a reboot and ${died === undefined ? "a start" : `kill -9 at "${died}"`}`);
      if (died === undefined) return;
    }
  },
};

/**
 * Kills the process at each step of each call in turn, each time on a new host, starts it again, lets the retry that
 * lost its body fail, and then does what `then` says, after which nothing may be left.
 */
async function atEveryStep(
  factory: HostFactory,
  life: readonly Step[],
  then: (rig: Rig, life: readonly Step[], at: number) => Promise<void>,
): Promise<void> {
  for (const [index, step] of life.entries()) {
    for (let at = 0; at <= MOST_STEPS; at += 1) {
      assert.ok(at < MOST_STEPS, `${step.method} does not end after ${MOST_STEPS} steps`);
      await using rig = await Rig.open(factory);
      for (const earlier of life.slice(0, index)) await mustDo(rig, earlier);
      rig.arm(at);
      const verb = `NetworkDriver.${step.method}`;
      const outcome = await rig.call(verb, step.body);
      const { diedAt } = rig;
      if (diedAt === undefined) break;
      assert.equal(outcome.status, undefined, `${step.method} was answered by a dead process`);
      await rig.killAndStart();
      const retry = await rig.call(verb);
      assert.notEqual(retry.error, "", `${step.method} that lost its body must be refused`);
      await explained(`after kill -9 at "${diedAt}" of ${step.method}`, async () => {
        await then(rig, life, index);
        await rig.mustLeaveNothing("at the end");
      });
    }
  }
}

/** What dockerd calls after a call has failed: its roll-back, then whatever the user removes. */
function afterFailure(life: readonly Step[], at: number): readonly Step[] {
  const failed = life[at];
  const deleteNetwork = life.at(-1);
  assert.ok(failed && deleteNetwork);
  // A network of which dockerd was never told is removed by whoever collects garbage, as is one whose delete was lost.
  if (failed.method === "CreateNetwork" || failed.method === "DeleteNetwork") return [deleteNetwork];
  if (isDelete(failed)) return life.slice(at + 1);
  return [...failed.onFailure, deleteNetwork];
}

async function explained(when: string, task: () => Promise<void>): Promise<void> {
  try {
    await task();
  } catch (error) {
    throw new Error(`${when}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

export const networkCrashChecks: readonly Check<Options>[] = [
  restarts,
  kills,
  killsThenRepeats,
  killsThenGivesUp,
  reboots,
];
