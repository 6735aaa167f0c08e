import { once } from "node:events";
import { setImmediate as turn } from "node:timers/promises";
import { schedule } from "./schedule.ts";

interface Job {
  readonly name: string;
  readonly size: number;
}

const jobs: readonly Job[] = [
  { name: "a", size: 1 },
  { name: "b", size: 2 },
  { name: "c", size: 1 },
  { name: "d", size: 1 },
  { name: "e", size: 9 },
];
const ways = {
  processorsFor: ({ size }: Job) => size,
  expected: () => 60,
  vital: ({ name }: Job) => name === "c",
};
const named = (found: readonly Job[]): string[] => found.map(({ name }) => name);

/** Runs the jobs, each for some turns of the event loop. @returns what began and ended, in order, and who was left out */
async function record(processors: number, within?: number): Promise<{ events: string[]; leftOut: readonly Job[] }> {
  const events: string[] = [];
  const leftOut = await schedule(jobs, {
    ...ways,
    processors,
    ...(within !== undefined && { within }),
    run: async ({ name }) => {
      events.push(`+${name}`);
      for (let turns = 0; turns < 5; turns += 1) await turn();
      events.push(`-${name}`);
      return true;
    },
  });
  return { events, leftOut };
}

test("jobs run side by side as far as there are processors, and in their order", async () => {
  const { events, leftOut } = await record(2);
  expect(leftOut).toEqual([]);
  expect(events).toEqual(["+a", "-a", "+b", "-b", "+c", "+d", "-c", "-d", "+e", "-e"]);
});

test("with a single processor one follows the other", async () => {
  const { events } = await record(1);
  expect(events).toEqual(["a", "b", "c", "d", "e"].flatMap((name) => [`+${name}`, `-${name}`]));
});

test("what would not end in time is left out, but for what is vital", async () => {
  const { events, leftOut } = await record(2, 59);
  expect(events).toEqual(["+c", "-c"]);
  expect(named(leftOut)).toEqual(["a", "b", "d", "e"]);
});

test("what ends in time runs", async () => {
  expect((await record(2, 61)).leftOut).toEqual([]);
});

test("what still runs when the time is over is told so and counts as left out, but for what is vital", async () => {
  const told: string[] = [];
  const leftOut = await schedule(jobs, {
    ...ways,
    processors: 9,
    within: 0.05,
    expected: ({ name }) => (name === "e" ? 60 : 0),
    run: async ({ name }, over) => {
      if (name === "d") return true;
      const { promise: late, resolve } = Promise.withResolvers<undefined>();
      const clock = setTimeout(() => resolve(undefined), 200);
      await Promise.race([once(over, "abort").then(() => told.push(name)), late]);
      clearTimeout(clock);
      return !over.aborted;
    },
  });
  expect(told).toEqual(["a", "b"]);
  expect(named(leftOut)).toEqual(["a", "b", "e"]);
});
