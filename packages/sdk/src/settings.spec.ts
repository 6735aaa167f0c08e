import { boolean, integer, text } from "./option-types.ts";
import { readSettings } from "./settings.ts";

const description = {
  name: "ts-null",
  version: "1.2.3",
  summary: "A driver that does nothing.",
  settings: { pools: { flag: "pool-size", value: "N", type: integer(8, 30), default: 24, help: "Size of pools." } },
} as const;

const read = (args: readonly string[], environment: NodeJS.ProcessEnv = {}) =>
  readSettings(description, args, environment);

test("defaults follow from the name", () => {
  expect(read([])).toEqual({
    kind: "run",
    settings: {
      stateDir: "/var/lib/portolan/ts-null",
      logLevel: "info",
      admin: "/run/portolan/ts-null.sock",
      pools: 24,
    },
  });
});

test("a flag beats the environment, which beats the default", () => {
  const environment = { PORTOLAN_STATE_DIR: "/a", PORTOLAN_POOL_SIZE: "16", PORTOLAN_SOCKET: "/e.sock" };
  expect(read(["--state-dir", "/b", "--log-level=debug"], environment)).toMatchObject({
    settings: { stateDir: "/b", pools: 16, socket: "/e.sock", logLevel: "debug" },
  });
});

test("a flag without a value is true when it is given, and the environment says it in words", () => {
  const stub = { flag: "stub", type: boolean, default: false, help: "A stub." };
  const readStub = (args: readonly string[], environment: NodeJS.ProcessEnv = {}) =>
    readSettings({ ...description, settings: { stub } }, args, environment);
  expect(readStub([])).toMatchObject({ settings: { stub: false } });
  expect(readStub(["--stub"])).toMatchObject({ settings: { stub: true } });
  expect(readStub([], { PORTOLAN_STUB: "1" })).toMatchObject({ settings: { stub: true } });
  const help = readStub(["--help"]);
  expect(help.kind === "print" && help.text).toMatch(/^ +--stub +PORTOLAN_STUB +A stub\. Default: false\.$/m);
});

test("a flag that may be repeated is joined, as it is written in the environment", () => {
  const pools = { flag: "pool", value: "POOL", type: text, joinedBy: ";", help: "Pools." };
  const readPools = (args: readonly string[], environment: NodeJS.ProcessEnv = {}) =>
    readSettings({ ...description, settings: { pools } }, args, environment);
  expect(readPools(["--pool", "a", "--pool=b"])).toMatchObject({ settings: { pools: "a;b" } });
  expect(readPools([], { PORTOLAN_POOL: "a;b;c" })).toMatchObject({ settings: { pools: "a;b;c" } });
});

test.each<[string, readonly string[], NodeJS.ProcessEnv, string]>([
  ["an unknown flag", ["--sokcet", "/x"], {}, "ts-null: Unknown option '--sokcet'. See ts-null --help."],
  [
    "a flag without its value",
    ["--socket"],
    {},
    "ts-null: Option '--socket <value>' argument missing. See ts-null --help.",
  ],
  [
    "a wrong value of a flag",
    ["--log-level", "loud"],
    {},
    'ts-null: --log-level: "loud" is not allowed. Give one of error, warn, info, debug.',
  ],
  [
    "a wrong value in the environment",
    [],
    { PORTOLAN_POOL_SIZE: "99" },
    'ts-null: PORTOLAN_POOL_SIZE: "99" is not allowed. Give an integer from 8 to 30.',
  ],
  [
    "a relative path",
    ["--state-dir", "state"],
    {},
    'ts-null: --state-dir: "state" is not allowed. Give an absolute path.',
  ],
])("refuses %s in one sentence", (_what, args, environment, message) => {
  expect(read(args, environment)).toEqual({ kind: "refuse", message });
});

test("--help names every flag, its variable and its default, --version the version", () => {
  const help = read(["--help"]);
  expect(help).toMatchObject({ kind: "print" });
  const text = help.kind === "print" ? help.text : "";
  expect(text).toMatch(/^ts-null: A driver that does nothing\.$/m);
  expect(text).toMatch(/--socket PATH +PORTOLAN_SOCKET +.*\/run\/docker\/plugins\/ts-null\.sock/);
  expect(text).toMatch(/--pool-size N +PORTOLAN_POOL_SIZE +Size of pools\. Default: 24\./);
  expect(read(["--version"])).toEqual({ kind: "print", text: "ts-null 1.2.3\n" });
});
