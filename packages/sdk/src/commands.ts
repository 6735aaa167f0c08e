// What an executable can do besides serving: `ts-bridge purge`, `ts-ipam ls --json`. Declared once, listed by --help.
import type { CommonSettings } from "./settings.ts";

export interface CommandCall<S> {
  readonly settings: S;
  /** The words after the command's name. */
  readonly operands: readonly string[];
  /** Flags of this command that were given. */
  readonly flags: ReadonlySet<string>;
  readonly print: (text: string) => void;
}

export interface Command<S = CommonSettings> {
  /** One sentence for `--help`. */
  readonly summary: string;
  /** The operands as `--help` shows them, in order; every one is required. Default: none. */
  readonly operands?: readonly string[];
  /** Flags without a value, each with a sentence for `--help`. */
  readonly flags?: Readonly<Record<string, string>>;
  /** @throws PluginError for what the user should read; the exit code is then 1 */
  readonly run: (call: CommandCall<S>) => Promise<void>;
}

export type Commands<S = CommonSettings> = Readonly<Record<string, Command<S>>>;

/** @returns what is wrong with the words the user typed, if anything */
export function misuseOf<S>(
  commands: Commands<S>,
  [name, ...operands]: readonly string[],
  flags: Iterable<string>,
): string | undefined {
  const names = Object.keys(commands);
  if (name === undefined) return undefined;
  const command = commands[name];
  if (command === undefined) {
    return names.length === 0
      ? `unexpected argument "${name}"`
      : `"${name}" is not a command. Commands are ${names.join(", ")}`;
  }
  const wanted = command.operands ?? [];
  if (operands.length !== wanted.length) {
    return `${name} takes ${wanted.length === 0 ? "no operands" : wanted.join(" ")}, not ${String(operands.length)} operands`;
  }
  const stranger = [...flags].find((flag) => command.flags?.[flag] === undefined);
  return stranger === undefined ? undefined : `${name} has no flag --${stranger}`;
}
