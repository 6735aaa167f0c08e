import { PassThrough } from "node:stream";
import { createLogger, type Logger, type LoggerOptions } from "./logger.ts";
import { PluginError } from "./plugin-error.ts";

const NETWORK = "0123456789abcdef".repeat(4);

async function linesOf(
  options: Omit<LoggerOptions, "plugin" | "stream">,
  use: (logger: Logger) => void,
): Promise<string[]> {
  const stream = new PassThrough();
  use(createLogger({ ...options, plugin: "ts-null", stream }));
  await new Promise((resolve) => setImmediate(resolve));
  return String(stream.read() ?? "")
    .split("\n")
    .slice(0, -1);
}

test("a line is one JSON object in a fixed order, with short ids and rounded times", async () => {
  const lines = await linesOf({ format: "json" }, (logger) =>
    logger.info("create network", { ms: 1.23456, network: NETWORK, verb: "NetworkDriver.CreateNetwork", pool: "p" }),
  );
  expect(lines).toHaveLength(1);
  const line = JSON.parse(lines[0]!) as Record<string, unknown>;
  expect(Object.keys(line)).toEqual(["time", "level", "plugin", "verb", "network", "ms", "msg", "pool"]);
  expect(line).toMatchObject({
    level: "info",
    plugin: "ts-null",
    network: "0123456789ab",
    ms: 1.23,
    msg: "create network",
  });
  expect(new Date(line.time as string).getTime()).toBeCloseTo(Date.now(), -4);
});

test("an error is its message, and the stack where it began is a field, so that a line stays a line", async () => {
  const origin = new Error("first\nsecond");
  const lines = await linesOf({ format: "json" }, (logger) =>
    logger.error("failed", { err: PluginError.from(origin) }),
  );
  expect(lines).toHaveLength(1);
  expect(JSON.parse(lines[0]!)).toMatchObject({ err: "first\nsecond", stack: origin.stack });
});

test("a refusal has no stack: nothing broke", async () => {
  const refusal = PluginError.from(new PluginError('option "x" is unknown'), { op: "create network" });
  const lines = await linesOf({ format: "json" }, (logger) => logger.error("failed", { err: refusal }));
  expect(JSON.parse(lines[0]!)).not.toHaveProperty("stack");
});

test("text for people keeps an error's lines together", async () => {
  const lines = await linesOf({ format: "text" }, (logger) =>
    logger.warn("failed", { err: new Error("a\nb"), network: NETWORK }),
  );
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(/^\S+Z warn {2}ts-null: failed network=0123456789ab err=a b$/);
});

test("levels below the chosen one are silent", async () => {
  const lines = await linesOf({ level: "warn" }, (logger) => {
    for (const level of ["debug", "info", "warn", "error"] as const) logger[level](level);
  });
  expect(lines.map((line) => (JSON.parse(line) as { level: string }).level)).toEqual(["warn", "error"]);
});

test("a reader that goes away takes nobody with it", async () => {
  const stream = new PassThrough();
  const logger = createLogger({ plugin: "ts-null", stream });
  stream.destroy(new Error("EPIPE")); // without a listener this ends the process
  await new Promise((resolve) => setImmediate(resolve));
  expect(() => logger.info("still here")).not.toThrow();
});
