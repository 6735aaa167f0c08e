// What a doctor prints, and when it fails.
import { doctor, examine, type Check } from "./doctor.ts";

const healthy: Check = { name: "forwarding", look: () => Promise.resolve([]) };
const narrow: Check = {
  name: "MTU",
  look: () => Promise.resolve([{ level: "note", found: "eth0 takes 1450 bytes", mend: "ip link show eth0" }]),
};
const closed: Check = {
  name: "FORWARD",
  look: () => Promise.resolve([{ level: "problem", found: "it drops all", mend: "iptables -P FORWARD ACCEPT" }]),
};

async function run(checks: readonly Check[], ...flags: string[]) {
  const printed: string[] = [];
  const command = doctor((_, look) => look(checks));
  const call = {
    settings: {} as never,
    operands: [],
    flags: new Set(flags),
    print: (text: string) => printed.push(text),
  };
  const error: unknown = await command.run(call).catch((caught: unknown) => caught);
  return { text: printed.join("\n"), error: Error.isError(error) ? error.message : undefined };
}

it("says what it looked at when nothing is wrong", async () => {
  expect(await run([healthy])).toEqual({ text: "Looked at forwarding. Nothing is wrong.", error: undefined });
});

it("prints each finding with the command that mends it, and fails for problems, not for notes", async () => {
  expect((await run([healthy, narrow])).error).toBeUndefined();
  const { text, error } = await run([healthy, narrow, closed]);
  expect(error).toBe("there is a problem");
  expect(text.split("\n")).toEqual([
    "note: MTU: eth0 takes 1450 bytes",
    "    ip link show eth0",
    "problem: FORWARD: it drops all",
    "    iptables -P FORWARD ACCEPT",
    "Looked at forwarding, MTU, FORWARD.",
  ]);
});

it("prints the same as JSON", async () => {
  const { text } = await run([narrow, closed], "json");
  expect(JSON.parse(text)).toEqual(await examine([narrow, closed]));
});

it("goes on after a check that fails, which is a problem of its own", async () => {
  const broken: Check = { name: "links", look: () => Promise.reject(new Error("not permitted")) };
  const { findings } = await examine([broken, narrow]);
  expect(findings.map(({ check, level }) => [check, level])).toEqual([
    ["links", "problem"],
    ["MTU", "note"],
  ]);
  expect(findings[0]?.found).toContain("not permitted");
});
