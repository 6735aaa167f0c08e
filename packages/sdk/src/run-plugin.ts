// What every executable does around its driver: settings, logger, metrics, the socket to listen on, the way to exit.
import type { Listener } from "./listen/listener.ts";
import { isSocketActivated, systemd } from "./listen/systemd.ts";
import { unix } from "./listen/unix.ts";
import { createLogger, type Logger } from "./logger.ts";
import { Metrics } from "./metrics.ts";
import { PluginError } from "./plugin-error.ts";
import {
  defaultSocket,
  readSettings,
  type CalledCommand,
  type CommonDeclarations,
  type ExecutableDescription,
  type SettingDeclarations,
  type Settings,
} from "./settings.ts";
import { untilSignal } from "./signals.ts";

export interface PluginRuntime<S> {
  readonly name: string;
  readonly settings: S;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** The socket that the settings or systemd name. */
  readonly listen: Listener;
  /** Resolves at SIGTERM or SIGINT: return then, and what `await using` holds is closed. */
  readonly stopped: Promise<unknown>;
}

/** Bad usage or a host that does not fit: one sentence on standard error, exit code 2. */
export class UsageError extends PluginError {
  override readonly name = "UsageError";
}

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;

/**
 * Runs `main` with what it needs and sets the exit code: 0 when it returns, 2 after bad usage (UsageError, and a
 * PluginError thrown before the plugin listened), 1 after any other error.
 */
export async function runPlugin<const Own extends SettingDeclarations = CommonDeclarations>(
  description: ExecutableDescription<Own>,
  main: (plugin: PluginRuntime<Settings<Own>>) => Promise<void>,
): Promise<void> {
  const outcome = readSettings(description);
  if (outcome.kind === "print") {
    process.stdout.write(outcome.text);
    return;
  }
  if (outcome.kind === "refuse") {
    usage(outcome.message);
    return;
  }
  const { settings, command } = outcome;
  const { name } = description;
  if (command !== undefined) {
    await runCommand(description, command, settings);
    return;
  }
  const { logLevel: level, logFormat: format } = settings;
  const logger = createLogger({ plugin: name, level, ...(format === undefined ? {} : { format }) });
  const stopped = untilSignal().then((signal) => logger.info(`stopping after ${signal}`));
  try {
    await main({ name, settings, logger, metrics: new Metrics(), listen: listenerFor(name, settings), stopped });
    logger.info("stopped");
  } catch (error) {
    if (error instanceof PluginError) usage(`${name}: ${error.message}`);
    else {
      logger.error("failed", { err: error });
      process.exitCode = EXIT_FAILED;
    }
  }
}

async function runCommand<const Own extends SettingDeclarations>(
  { name, commands = {} }: ExecutableDescription<Own>,
  { name: command, operands, flags }: CalledCommand,
  settings: Settings<Own>,
): Promise<void> {
  const print = (text: string) => void process.stdout.write(text.endsWith("\n") ? text : `${text}\n`);
  try {
    await commands[command]?.run({ settings, operands, flags, print });
  } catch (error) {
    process.stderr.write(`${name} ${command}: ${PluginError.from(error).message}\n`);
    process.exitCode = EXIT_FAILED;
  }
}

/** A socket named outright, else the one that systemd hands over, else where dockerd looks for a plugin of this name. */
function listenerFor(name: string, { socket }: { readonly socket?: string }): Listener {
  if (socket === undefined && isSocketActivated()) return systemd();
  return unix(socket ?? defaultSocket(name), { makeDirectory: true });
}

function usage(message: string): void {
  process.stderr.write(`${message.replaceAll(/\s*\n\s*/g, " ").trim()}\n`);
  process.exitCode = EXIT_USAGE;
}
