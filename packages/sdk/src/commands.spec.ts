import { readSettings, type ExecutableDescription } from "./settings.ts";

const description: ExecutableDescription = {
  name: "ts-example",
  version: "1.2.3",
  summary: "An example.",
  commands: {
    ls: { summary: "Lists pools.", flags: { json: "As JSON." }, run: () => Promise.resolve() },
    inspect: { summary: "Shows one pool.", operands: ["POOL"], run: () => Promise.resolve() },
  },
};

const read = (...args: string[]) => readSettings(description, args, {});
const message = (...args: string[]) => {
  const outcome = read(...args);
  return outcome.kind === "refuse" ? outcome.message : outcome.kind;
};

test("without a command the executable serves", () => {
  expect(read("--log-level", "debug")).not.toHaveProperty("command");
});

test("a command keeps its operands and flags, beside the settings that all share", () => {
  expect(read("ls", "--json", "--admin", "/tmp/a.sock")).toMatchObject({
    kind: "run",
    settings: { admin: "/tmp/a.sock" },
    command: { name: "ls", operands: [], flags: new Set(["json"]) },
  });
  expect(read("inspect", "10.0.0.0/8")).toMatchObject({ command: { name: "inspect", operands: ["10.0.0.0/8"] } });
});

test("an unknown command is refused with the list of those there are", () => {
  expect(message("list")).toBe('ts-example: "list" is not a command. Commands are ls, inspect. See ts-example --help.');
});

test("an executable without commands takes no words", () => {
  const { commands: _, ...plain } = description;
  expect(readSettings(plain, ["ls"], {})).toEqual({
    kind: "refuse",
    message: 'ts-example: unexpected argument "ls". See ts-example --help.',
  });
});

test("missing and surplus operands are refused with what the command takes", () => {
  expect(message("inspect")).toContain("inspect takes POOL, not 0 operands");
  expect(message("ls", "x")).toContain("ls takes no operands, not 1 operands");
});

test("a flag of another command is refused, and so is one without a command", () => {
  expect(message("inspect", "x", "--json")).toContain("inspect has no flag --json");
  expect(message("--json")).toContain("a command is missing");
});

test("--help lists the commands with their operands and flags", () => {
  const outcome = read("--help");
  expect(outcome.kind === "print" ? outcome.text : "").toMatch(
    /ls +Lists pools\.\n +--json +As JSON\.\n +inspect POOL +/,
  );
});
