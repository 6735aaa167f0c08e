// The settings of an executable: flags first, then the environment, then defaults. Every plugin takes the same ones.
import { parseArgs } from "node:util";
import { misuseOf, type Commands } from "./commands.ts";
import { LOG_LEVELS } from "./logger.ts";
import { oneOf, path, type OptionType } from "./option-types.ts";

export interface SettingDeclaration<T> {
  /** Without the dashes: `state-dir`. The environment variable follows from it: `PORTOLAN_STATE_DIR`. */
  readonly flag: string;
  /** What `--help` shows for the value: `DIR`. A flag without one stands for `true`. */
  readonly value?: string;
  readonly type: OptionType<T>;
  readonly default?: T;
  /** What `--help` shows as default, where that depends on something. */
  readonly defaultText?: string;
  /** The flag may be given several times; the texts are joined by this, as they are written in the environment. */
  readonly joinedBy?: string;
  readonly help: string;
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- a declaration of whatever type
export type SettingDeclarations = Readonly<Record<string, SettingDeclaration<any>>>;
type ValueOf<D> = D extends { readonly type: OptionType<infer T> } ? T : never;

type SettingValues<D extends SettingDeclarations> = {
  readonly [Name in keyof D as D[Name] extends { readonly default: unknown } ? Name : never]: ValueOf<D[Name]>;
} & {
  readonly [Name in keyof D as D[Name] extends { readonly default: unknown } ? never : Name]?: ValueOf<D[Name]>;
};

/** The settings that every executable has. */
export type CommonDeclarations = ReturnType<typeof commonSettings>;
export type CommonSettings = SettingValues<CommonDeclarations>;
export type Settings<Own extends SettingDeclarations = CommonDeclarations> = CommonSettings & SettingValues<Own>;

export interface ExecutableDescription<Own extends SettingDeclarations = CommonDeclarations> {
  /** As the user types it: `ts-bridge`. */
  readonly name: string;
  readonly version: string;
  /** One sentence for `--help`. */
  readonly summary: string;
  /** Settings beside the common ones. */
  readonly settings?: Own & { readonly [Name in keyof Own]: SettingDeclaration<ValueOf<Own[Name]>> };
  /** What it can do besides serving, by name. */
  readonly commands?: Commands<Settings<Own>>;
}

/** A command as the user called it. */
export interface CalledCommand {
  readonly name: string;
  readonly operands: readonly string[];
  readonly flags: ReadonlySet<string>;
}

export type SettingsOutcome<S> =
  | { readonly kind: "run"; readonly settings: S; readonly command?: CalledCommand }
  /** `--help` or `--version`: print and end with success. */
  | { readonly kind: "print"; readonly text: string }
  /** One sentence for standard error; exit code 2. */
  | { readonly kind: "refuse"; readonly message: string };

function commonSettings(name: string) {
  return {
    socket: {
      flag: "socket",
      value: "PATH",
      type: path,
      defaultText: `systemd's, else /run/docker/plugins/${name}.sock`,
      help: "Where dockerd calls.",
    },
    stateDir: {
      flag: "state-dir",
      value: "DIR",
      type: path,
      default: `/var/lib/portolan/${name}`,
      help: "Where promises are kept.",
    },
    logLevel: {
      flag: "log-level",
      value: "LEVEL",
      type: oneOf(...LOG_LEVELS),
      default: "info",
      help: "How much to log.",
    },
    logFormat: {
      flag: "log-format",
      value: "FORMAT",
      type: oneOf("text", "json"),
      defaultText: "text on a terminal, else json",
      help: "How log lines look.",
    },
    admin: {
      flag: "admin",
      value: "PATH",
      type: path,
      default: `/run/portolan/${name}.sock`,
      help: "Socket for GET /healthz, /status and /metrics.",
    },
  } as const;
}

/** Where dockerd looks for a plugin of this name. */
export function defaultSocket(name: string): string {
  return `/run/docker/plugins/${name}.sock`;
}

/** @param args the arguments after the executable's name */
export function readSettings<const Own extends SettingDeclarations = CommonDeclarations>(
  description: ExecutableDescription<Own>,
  args: readonly string[] = process.argv.slice(2),
  environment: NodeJS.ProcessEnv = process.env,
): SettingsOutcome<Settings<Own>> {
  const declarations: SettingDeclarations = { ...commonSettings(description.name), ...description.settings };
  const refuse = (problem: string) => ({ kind: "refuse", message: `${description.name}: ${problem}` }) as const;

  const commands = description.commands ?? {};
  const commandFlags = Object.values(commands).flatMap((command) => Object.keys(command.flags ?? {}));
  let given: Readonly<Record<string, string | boolean | (string | boolean)[] | undefined>>;
  let words: readonly string[];
  try {
    const options = flagsOf(declarations, commandFlags);
    ({ values: given, positionals: words } = parseArgs({ args: [...args], options, allowPositionals: true }));
  } catch (error) {
    return refuse(`${firstSentence(error)}. See ${description.name} --help.`);
  }
  if (given.help === true) return { kind: "print", text: helpText(description, declarations, commands) };
  if (given.version === true) return { kind: "print", text: `${description.name} ${description.version}\n` };

  const flags = new Set(commandFlags.filter((flag) => given[flag] === true));
  const misuse = words.length === 0 && flags.size > 0 ? "a command is missing" : misuseOf(commands, words, flags);
  if (misuse !== undefined) return refuse(`${misuse}. See ${description.name} --help.`);

  const settings: Record<string, unknown> = {};
  for (const [name, { flag, type, default: fallback, joinedBy = "" }] of Object.entries(declarations)) {
    const variable = variableOf(flag);
    const fromFlag = textOf(given[flag], joinedBy);
    const text = fromFlag ?? environment[variable];
    const value: unknown = text === undefined ? fallback : type.parse(text);
    if (value !== undefined) settings[name] = value;
    else if (text !== undefined) {
      const source = fromFlag === undefined ? variable : `--${flag}`;
      return refuse(`${source}: "${text}" is not allowed. Give ${type.allowed}.`);
    }
  }
  const [name, ...operands] = words;
  const command = name === undefined ? {} : { command: { name, operands, flags } };
  return { kind: "run", settings: settings as Settings<Own>, ...command };
}

type Flags = Record<string, { type: "string" | "boolean"; short?: string; multiple?: boolean }>;

function flagsOf(declarations: SettingDeclarations, commandFlags: readonly string[]): Flags {
  const flags: Flags = { help: { type: "boolean", short: "h" }, version: { type: "boolean" } };
  for (const { flag, value, joinedBy } of Object.values(declarations)) {
    flags[flag] = { type: value === undefined ? "boolean" : "string", multiple: joinedBy !== undefined };
  }
  for (const flag of commandFlags) flags[flag] = { type: "boolean" };
  return flags;
}

function textOf(given: string | boolean | (string | boolean)[] | undefined, joinedBy: string): string | undefined {
  if (Array.isArray(given)) return given.join(joinedBy);
  return given === undefined ? undefined : String(given);
}

function variableOf(flag: string): string {
  return `PORTOLAN_${flag.toUpperCase().replaceAll("-", "_")}`;
}

/** Node adds advice for programmers after the first sentence. */
function firstSentence(error: unknown): string {
  const message = Error.isError(error) ? error.message : String(error);
  return message.split(". ")[0]?.replace(/\.$/, "") ?? message;
}

function helpText<S>(
  { name, summary }: Pick<ExecutableDescription, "name" | "summary">,
  declarations: SettingDeclarations,
  commands: Commands<S>,
): string {
  const rows = Object.values(declarations).map(({ flag, value, help, default: fallback, defaultText }) => {
    const shown = defaultText ?? (fallback === undefined ? undefined : String(fallback));
    const tail = shown === undefined ? "" : ` Default: ${shown}.`;
    return [value === undefined ? `--${flag}` : `--${flag} ${value}`, variableOf(flag), `${help}${tail}`];
  });
  const verbs = Object.entries(commands).flatMap(([command, { summary, operands = [], flags = {} }]) => [
    [[command, ...operands].join(" "), summary],
    ...Object.entries(flags).map(([flag, help]) => [`  --${flag}`, help]),
  ]);
  return [
    `${name}: ${summary}`,
    ...(verbs.length === 0 ? [] : ["", "Without a command it serves dockerd. Commands:", ...columns(verbs)]),
    "",
    "Flags, and the environment variables that stand in for them:",
    ...columns([...rows, ["--help", "", "This text."], ["--version", "", "The version."]]),
    "",
  ].join("\n");
}

function columns(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((cells) => cells[column]?.length ?? 0)));
  return rows.map((cells) => `  ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ")}`.trimEnd());
}
