// The fake kernel's ruleset in nft's JSON form. One difference to the real one: a rule's `expr` is its text.
import type { FakeChain, FakeSet, FakeTable, Ruleset } from "./nft-ruleset.ts";

type Json = Record<string, unknown>;

/**
 * `list ruleset`, `list tables`, `list table F T`, `list chain F T C`, `list set F T S`, `list map F T M`; one blank between words.
 * @returns undefined when there is no such thing @throws SyntaxError for other commands
 */
export function listRuleset(ruleset: Ruleset, command: string): Json[] | undefined {
  const [list, kind, family = "", table = "", name = ""] = command.trim().split(/\s+/);
  if (list !== "list") throw new SyntaxError(`syntax error, unexpected ${list ?? ""}, expecting list`);
  if (kind === "ruleset") return [...ruleset.tables].flatMap(([key, each]) => tableObjects(key, each));
  if (kind === "tables") return [...ruleset.tables].map(([key, each]) => tableObject(key, each));
  const key = `${family} ${table}`;
  const found = ruleset.tables.get(key);
  if (kind === "table") return found && tableObjects(key, found);
  const chain = kind === "chain" ? found?.chains.get(name) : undefined;
  if (chain) return chainObjects(key, name, chain);
  const set = found?.sets.get(name);
  if (set?.kind === kind && set) return [setObject(key, name, set)];
  if (kind === "chain" || kind === "set" || kind === "map") return undefined;
  throw new SyntaxError(`the fake kernel lists no ${kind ?? "nothing"}`);
}

function tableObjects(key: string, table: FakeTable): Json[] {
  return [
    tableObject(key, table),
    ...[...table.chains].map(([name, chain]) => chainObject(key, name, chain)),
    ...[...table.sets].map(([name, set]) => setObject(key, name, set)),
    ...[...table.chains].flatMap(([name, chain]) => ruleObjects(key, name, chain)),
  ];
}

function tableObject(key: string, table: FakeTable): Json {
  const [family, name] = key.split(" ");
  return { table: { family, name, handle: table.handle } };
}

const chainObjects = (key: string, name: string, chain: FakeChain) => [
  chainObject(key, name, chain),
  ...ruleObjects(key, name, chain),
];

function chainObject(key: string, name: string, { handle, header, policy }: FakeChain): Json {
  const [family, table] = key.split(" ");
  const base = /^type (\S+) hook (\S+) (?:device \S+ )?priority (.+)$/.exec(header);
  const [, type, hook, prio] = base ?? [];
  return { chain: { family, table, name, handle, ...(base && { type, hook, prio: Number(prio), policy }) } };
}

function ruleObjects(key: string, chain: string, { rules }: FakeChain): Json[] {
  const [family, table] = key.split(" ");
  return rules.map(({ handle, text }) => ({ rule: { family, table, chain, handle, expr: [text] } }));
}

function setObject(key: string, name: string, { kind, handle, key: type, value, flags, elements }: FakeSet): Json {
  const [family, table] = key.split(" ");
  const types = type.split(" . ");
  const elem = [...elements].map(([from, to]) => (to === undefined ? toJson(from) : [toJson(from), toJson(to)]));
  return {
    [kind]: {
      family,
      name,
      table,
      type: types.length === 1 ? type : types,
      handle,
      ...(value !== undefined && { map: value }),
      ...(flags.length > 0 && { flags }),
      ...(elem.length > 0 && { elem }),
    },
  };
}

/** As nft writes elements: numbers, strings, `{concat}`, `{prefix}`, `{range}` and verdicts. */
function toJson(text: string): unknown {
  const parts = text.split(" . ");
  if (parts.length > 1) return { concat: parts.map(toJson) };
  const [verdict = "", target] = text.split(" ");
  if (verdict === "jump" || verdict === "goto") return { [verdict]: { target } };
  if (["accept", "drop", "return", "continue"].includes(text)) return { [text]: null };
  const prefix = /^([0-9a-f.:]+)\/(\d+)$/i.exec(text);
  if (prefix) return { prefix: { addr: prefix[1], len: Number(prefix[2]) } };
  const range = /^([0-9a-f.:]+)-([0-9a-f.:]+)$/i.exec(text);
  if (range) return { range: [toJson(range[1] ?? ""), toJson(range[2] ?? "")] };
  return /^\d+$/.test(text) ? Number(text) : text;
}
