// Log lines: one line a request, JSON for machines, text for a terminal.
import type { Writable } from "node:stream";
import { createLogger as createWinston, format, transports } from "winston";
import { messageOf, PluginError } from "./plugin-error.ts";
import { shortId } from "./values.ts";

export const LOG_LEVELS = ["error", "warn", "info", "debug"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** What a line says besides its message. Ids are shortened to 12 characters, an error's stack becomes a field. */
export interface LogFields {
  readonly verb?: string | undefined;
  readonly network?: string | undefined;
  readonly endpoint?: string | undefined;
  readonly ms?: number | undefined;
  readonly err?: unknown;
  readonly [field: string]: unknown;
}

type Log = (msg: string, fields?: LogFields) => void;

/** What the SDK needs of a logger. Nothing is logged where none is given. */
export type Logger = Readonly<Record<LogLevel, Log>>;

export const silentLogger: Logger = { error: ignore, warn: ignore, info: ignore, debug: ignore };

export interface LoggerOptions {
  /** The executable's name, in every line: `ts-bridge`. */
  readonly plugin: string;
  readonly level?: LogLevel;
  /** Default: text when the stream is a terminal, else json. */
  readonly format?: "text" | "json";
  /** Default: standard output, which dockerd copies to its own log for a managed plugin. */
  readonly stream?: Writable & { readonly isTTY?: boolean };
}

export function createLogger(options: LoggerOptions): Logger {
  const stream = options.stream ?? process.stdout;
  // A reader that went away must not take the driver with it: what it would have read is lost, nothing else.
  stream.on("error", ignore);
  const asText = (options.format ?? (stream.isTTY === true ? "text" : "json")) === "text";
  const winston = createWinston({
    level: options.level ?? "info",
    levels: { error: 0, warn: 1, info: 2, debug: 3 },
    format: format.printf(({ level, message, ...fields }) => {
      const line = { time: new Date().toISOString(), level, plugin: options.plugin, ...lineFields(message, fields) };
      return asText ? textLine(line) : JSON.stringify(line);
    }),
    // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment -- winston declares its classes as interfaces
    transports: [new transports.Stream({ stream, eol: "\n" })],
  });
  const at = (level: LogLevel): Log => {
    // winston would format a line before it drops it.
    if (!winston.isLevelEnabled(level)) return ignore;
    return (msg, fields) => winston.log(level, { ...fields, message: msg });
  };
  return { error: at("error"), warn: at("warn"), info: at("info"), debug: at("debug") };
}

/** The fields in the order in which people read them: what, on what, how long, what happened. */
function lineFields(msg: unknown, { verb, network, endpoint, ms, err, ...others }: LogFields): Record<string, unknown> {
  return {
    verb,
    network: network === undefined ? undefined : shortId(network),
    endpoint: endpoint === undefined ? undefined : shortId(endpoint),
    ms: ms === undefined ? undefined : Math.round(ms * 100) / 100,
    msg,
    err: err === undefined ? undefined : messageOf(err),
    stack: stackOf(err),
    ...others,
  };
}

/** Where the trouble began. A refusal, which is a PluginError down to the bottom, is no trouble. */
function stackOf(err: unknown): string | undefined {
  if (!Error.isError(err)) return undefined;
  if (Error.isError(err.cause)) return stackOf(err.cause);
  return err instanceof PluginError ? undefined : err.stack;
}

function textLine({ time, level, plugin, msg, stack: _stack, ...fields }: Record<string, unknown>): string {
  const rest = Object.entries(fields).filter(([, value]) => value !== undefined);
  const told = rest.map(([name, value]) => ` ${name}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  const line = `${String(time)} ${String(level).padEnd(5)} ${String(plugin)}: ${String(msg)}${told.join("")}`;
  return line.replaceAll(/\s*\n\s*/g, " ");
}

function ignore(): void {
  // Nobody listens.
}
