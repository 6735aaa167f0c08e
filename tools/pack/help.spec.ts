import { readSettings } from "@portolan/sdk";
import { completions } from "./completions.ts";
import { parseHelp } from "./help.ts";
import { manual } from "./manual.ts";

function helpText(): string {
  const commands = {
    ls: { summary: "Lists.", flags: { json: "As JSON." }, run: () => Promise.resolve() },
    show: { summary: "Shows one.", operands: ["POOL", "ADDRESS"], run: () => Promise.resolve() },
  };
  const outcome = readSettings({ name: "ts-null", version: "1", summary: "It's nothing.", commands }, ["--help"], {});
  return outcome.kind === "print" ? outcome.text : "";
}

test("reads commands with their operands and flags from what --help prints", () => {
  const { name, summary, commands } = parseHelp(helpText());
  expect([name, summary]).toEqual(["ts-null", "It's nothing."]);
  expect(commands).toEqual([
    {
      name: "ls",
      operands: "",
      text: "Lists.",
      flags: [{ flag: "--json", value: "", variable: "", text: "As JSON." }],
    },
    { name: "show", operands: "POOL ADDRESS", text: "Shows one.", flags: [] },
  ]);
});

test("reads every flag, with its value and its environment variable where it has them", () => {
  const { flags } = parseHelp(helpText());
  expect(flags.map(({ flag, value, variable }) => [flag, value, variable])).toEqual([
    ["--socket", "PATH", "PORTOLAN_SOCKET"],
    ["--state-dir", "DIR", "PORTOLAN_STATE_DIR"],
    ["--log-level", "LEVEL", "PORTOLAN_LOG_LEVEL"],
    ["--log-format", "FORMAT", "PORTOLAN_LOG_FORMAT"],
    ["--admin", "PATH", "PORTOLAN_ADMIN"],
    ["--help", "", ""],
    ["--version", "", ""],
  ]);
});

test.each(["", "ts-null\n", "ts-null: Nothing.\n", "ts-null: Nothing.\nand so on\n"])("refuses the text %j", (text) => {
  expect(() => parseHelp(text)).toThrow("--help");
});

test("lets no text of ours act as a roff request", () => {
  const help = parseHelp(helpText());
  const page = manual(
    { ...help, commands: [], flags: [{ flag: "-x", value: "", variable: "", text: ".so /x\\y" }] },
    "1",
  );
  expect(page).toContain("\\&.so /x\\ey\n");
});

test("quotes apostrophes in completions", () => {
  const help = parseHelp(helpText().replace("Lists.", "It's a list."));
  expect(completions(help)["share/fish/vendor_completions.d/ts-null.fish"]).toContain("-a ls -d 'It'\\''s a list.'\n");
});
