// One declaration of a driver's options, from which come their type, their parser, its errors and the README's table.
import type { OptionType } from "./option-types.ts";
import { PluginError } from "./plugin-error.ts";

export interface OptionDeclaration<T> {
  /** What the user writes before the `=`. The first is the name in errors and documents, the others are synonyms. */
  readonly keys: readonly [string, ...string[]];
  readonly type: OptionType<T>;
  /** In force when the option is not given, and shown in the table. Without it the value may be undefined. */
  readonly default?: T;
  /** What the table shows as default, where that depends on something: `the uplink's`. */
  readonly defaultText?: string;
  /** One sentence for the table. */
  readonly help: string;
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- a declaration of whatever type
type Declarations = Readonly<Record<string, OptionDeclaration<any>>>;
type ValueOf<D> = D extends { readonly type: OptionType<infer T> } ? T : never;

/** The values of a table's options: always present where there is a default. */
export type OptionValues<D extends Declarations> = {
  readonly [Name in keyof D as D[Name] extends { readonly default: unknown } ? Name : never]: ValueOf<D[Name]>;
} & {
  readonly [Name in keyof D as D[Name] extends { readonly default: unknown } ? never : Name]?: ValueOf<D[Name]>;
};

export interface ParsedOptions<D extends Declarations> {
  readonly values: OptionValues<D>;
  /** Options that are not ours: report them, and keep them, since tools of the user may read them. */
  readonly other: Readonly<Record<string, string>>;
}

export interface OptionTable<D extends Declarations> {
  readonly declarations: D;
  /** @throws PluginError naming the option, its value and what is allowed */
  parse(options: Readonly<Record<string, string>>): ParsedOptions<D>;
  /** The table for the README: one row an option, in the order declared. */
  markdown(): string;
}

/** The type of the values that a table yields: `type BridgeOptions = ValuesOf<typeof bridgeOptions>`. */
export type ValuesOf<Table> = Table extends OptionTable<infer D> ? OptionValues<D> : never;

export interface TableRules {
  /** Prefixes that belong to this driver: an unknown key under one of them is refused. `""` owns every key. */
  readonly ownPrefixes: readonly string[];
}

/** A declaration that several tables share, checked where it stands. */
export function option<const D extends OptionDeclaration<unknown>>(declaration: D & OptionDeclaration<ValueOf<D>>): D {
  return declaration;
}

export function optionTable<const D extends Declarations>(
  declarations: D & { readonly [Name in keyof D]: OptionDeclaration<ValueOf<D[Name]>> },
  rules: TableRules,
): OptionTable<D> {
  const names = new Map<string, string>();
  for (const [name, { keys }] of Object.entries(declarations)) {
    for (const key of keys) {
      if (names.has(key)) throw new RangeError(`option key "${key}" is declared twice`);
      names.set(key, name);
    }
  }

  return {
    declarations,
    parse(options) {
      const values: Record<string, unknown> = {};
      const givenBy = new Map<string, string>();
      const other: [string, string][] = [];
      for (const [key, given] of Object.entries(options)) {
        const name = names.get(key);
        const declaration = name === undefined ? undefined : declarations[name];
        if (name === undefined || declaration === undefined) {
          if (rules.ownPrefixes.some((prefix) => key.startsWith(prefix))) throw unknownOption(key, declarations);
          other.push([key, given]);
          continue;
        }
        const synonym = givenBy.get(name);
        if (synonym !== undefined && options[synonym] !== given) throw contradiction(synonym, key, options);
        givenBy.set(name, key);
        values[name] = parseValue(key, given, declaration.type);
      }
      for (const [name, declaration] of Object.entries(declarations)) {
        if (!givenBy.has(name) && declaration.default !== undefined) values[name] = declaration.default;
      }
      return { values: values as OptionValues<D>, other: Object.fromEntries(other) };
    },
    markdown: () => markdownTable(declarations),
  };
}

function parseValue(key: string, given: string, type: OptionType<unknown>): unknown {
  const value = type.parse(given);
  if (value !== undefined) return value;
  throw new PluginError(`option "${key}": ${given === "" ? "an empty value" : `"${given}"`} is not allowed`, {
    hint: `Give ${type.allowed}.`,
  });
}

function unknownOption(key: string, declarations: Declarations): PluginError {
  const known = Object.values(declarations).map(({ keys }) => keys[0]);
  return new PluginError(`option "${key}" is unknown`, { hint: `Allowed are ${known.join(", ")}.` });
}

function contradiction(first: string, second: string, options: Readonly<Record<string, string>>): PluginError {
  return new PluginError(
    `option "${second}": "${options[second] ?? ""}" contradicts "${first}", which means the same and is "${options[first] ?? ""}"`,
    { hint: "Give one of them." },
  );
}

function markdownTable(declarations: Declarations): string {
  const rows = Object.values(declarations).map(({ keys, type, help, default: value, defaultText }) => {
    const fallback = defaultText ?? (value === undefined ? "" : `\`${String(value)}\``);
    return [keys.map((key) => `\`${key}\``).join(", "), type.allowed, fallback, help];
  });
  const lines = [["option", "value", "default", "meaning"], ["---", "---", "---", "---"], ...rows];
  return lines.map((cells) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`).join("\n");
}
