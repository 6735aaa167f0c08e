import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { text } from "node:stream/consumers";
import { TemporaryDirectory } from "./spec-support/temporary-directory.ts";

const MAIN = `
  import { runPlugin, serve } from "@portolan/sdk";
  const driver = {
    capabilities: { scope: "local" },
    createNetwork: async () => {}, deleteNetwork: async () => {}, createEndpoint: async () => ({}),
    deleteEndpoint: async () => {}, join: async () => ({}), leave: async () => {},
  };
  await runPlugin({ name: "ts-null", version: "1.2.3", summary: "Nothing." }, async ({ listen, logger, stopped }) => {
    await using server = await serve({ network: driver, listen, logger });
    logger.info("listening");
    if (process.env.FAIL) throw new TypeError("x is not a function");
    await stopped;
  });`;

interface Run {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs the executable with flags; with `stopWith`, sends that signal once it listens. */
async function run(args: Readonly<Record<string, string>>, stopWith?: NodeJS.Signals): Promise<Run> {
  const node = ["--conditions=source", "--input-type=module", "--eval", MAIN];
  const child = spawn(process.execPath, node, {
    cwd: new URL("../", import.meta.url),
    env: { ...process.env, NODE_OPTIONS: "", ...args },
    stdio: ["ignore", "pipe", "pipe"],
  });
  if (stopWith !== undefined) child.stdout.once("data", () => child.kill(stopWith));
  const [out, err, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, "exit") as Promise<[number | null]>,
  ]);
  return { code, out, err };
}

test.each(["SIGTERM", "SIGINT"] as const)(
  "ends after %s with exit code 0 and takes its socket along",
  async (signal) => {
    await using directory = await TemporaryDirectory.make();
    const { code, out, err } = await run({ PORTOLAN_SOCKET: directory.file("x.sock") }, signal);
    const messages = out
      .split("\n")
      .slice(0, -1)
      .map((line) => (JSON.parse(line) as { msg: string }).msg);
    expect({ code, err, messages }).toEqual({
      code: 0,
      err: "",
      messages: ["listening", `stopping after ${signal}`, "stopped"],
    });
    expect(await directory.list()).toEqual([]);
  },
);

test("says one sentence and ends with exit code 2 after bad usage", async () => {
  expect(await run({ PORTOLAN_LOG_LEVEL: "loud" })).toEqual({
    code: 2,
    out: "",
    err: 'ts-null: PORTOLAN_LOG_LEVEL: "loud" is not allowed. Give one of error, warn, info, debug.\n',
  });
});

test("does so when another instance serves the socket", async () => {
  await using directory = await TemporaryDirectory.make();
  const socket = directory.file("x.sock");
  const other = createServer().listen(socket);
  await once(other, "listening");
  expect(await run({ PORTOLAN_SOCKET: socket })).toEqual({
    code: 2,
    out: "",
    err: `ts-null: another instance is serving ${socket}. Stop it, or choose another path.\n`,
  });
  other.close();
});

test("ends with exit code 1 and a log line when it breaks, its socket removed all the same", async () => {
  await using directory = await TemporaryDirectory.make();
  const { code, out } = await run({ PORTOLAN_SOCKET: directory.file("x.sock"), FAIL: "1" });
  expect(code).toBe(1);
  expect(JSON.parse(out.trim().split("\n").at(-1)!)).toMatchObject({ level: "error", err: "x is not a function" });
  expect(await directory.list()).toEqual([]);
});
