// The fake kernel's ruleset: tables, chains, sets and maps, and what a statement does to them.
import { KernelError } from "../kernel-error.ts";
import { canonicalWord, splitStatements, type Statement, type Target } from "./nft-language.ts";

interface FakeRule {
  readonly handle: number;
  readonly text: string;
}

export interface FakeChain {
  readonly handle: number;
  /** `type filter hook forward priority 0`, for base chains. */
  header: string;
  policy: string;
  rules: FakeRule[];
}

export interface FakeSet {
  readonly handle: number;
  readonly kind: "set" | "map";
  readonly key: string;
  /** What a map leads to. */
  readonly value: string | undefined;
  readonly flags: readonly string[];
  readonly elements: Map<string, string | undefined>;
}

export interface FakeTable {
  readonly handle: number;
  readonly chains: Map<string, FakeChain>;
  readonly sets: Map<string, FakeSet>;
}

/** Plain data, so that a transaction can work on a copy. */
export interface Ruleset {
  /** By family and name, as in `inet portolan`. */
  readonly tables: Map<string, FakeTable>;
  nextHandle: number;
}

export const emptyRuleset = (): Ruleset => ({ tables: new Map(), nextHandle: 1 });

/** @throws KernelError as the kernel would */
export function applyStatement(ruleset: Ruleset, statement: Statement): void {
  const { verb, kind, target } = statement;
  if (kind === "ruleset") {
    if (verb !== "flush") throw refusal(statement, "EINVAL");
    ruleset.tables.clear();
  } else if (kind === "table") applyToTable(ruleset, statement);
  else {
    const table = ruleset.tables.get(`${target.family} ${target.table}`);
    if (!table) throw refusal(statement, "ENOENT");
    if (kind === "chain") applyToChain(ruleset, table, statement);
    else if (kind === "rule") applyToRule(ruleset, table, statement);
    else if (kind === "element") applyToElements(table, statement);
    else applyToSet(ruleset, table, statement, kind);
  }
}

function applyToTable(ruleset: Ruleset, statement: Statement): void {
  const { verb, target } = statement;
  const key = `${target.family} ${target.table}`;
  const table = ruleset.tables.get(key);
  if (verb === "add" || verb === "create") {
    if (table && verb === "create") throw refusal(statement, "EEXIST");
    if (!table) ruleset.tables.set(key, { handle: handle(ruleset), chains: new Map(), sets: new Map() });
    return;
  }
  if (!table) throw refusal(statement, "ENOENT");
  if (verb === "delete") ruleset.tables.delete(key);
  // As in nft: flushing a table empties its chains and keeps its sets.
  else for (const chain of table.chains.values()) chain.rules = [];
}

function applyToChain(ruleset: Ruleset, table: FakeTable, statement: Statement): void {
  const { verb, target, body } = statement;
  const chain = table.chains.get(target.name);
  if (verb === "add" || verb === "create") {
    if (chain && verb === "create") throw refusal(statement, "EEXIST");
    const made = chain ?? { handle: handle(ruleset), header: "", policy: "accept", rules: [] };
    table.chains.set(target.name, made);
    for (const line of splitStatements(body)) {
      const text = line.join(" ");
      if (line[0] === "type") made.header = text;
      else if (line[0] === "policy") made.policy = line[1] ?? "";
      else if (line[0] !== "comment") addRule(ruleset, table, made, text, statement, Infinity);
    }
    return;
  }
  if (!chain) throw refusal(statement, "ENOENT");
  if (verb === "flush") chain.rules = [];
  else {
    if (isReferred(table, new RegExp(`\\b(jump|goto) ${RegExp.escape(target.name)}(?![\\w-])`)))
      throw refusal(statement, "EBUSY");
    table.chains.delete(target.name);
  }
}

function applyToRule(ruleset: Ruleset, table: FakeTable, statement: Statement): void {
  const { verb, target, body } = statement;
  const chain = table.chains.get(target.name);
  if (!chain) throw refusal(statement, "ENOENT");
  const byHandle = body[0] === "handle" || body[0] === "position";
  const place = byHandle ? chain.rules.findIndex(({ handle }) => handle === Number(body[1])) : -1;
  if (byHandle && place < 0) throw refusal(statement, "ENOENT");
  if (verb === "delete") {
    if (!byHandle) throw refusal(statement, "EINVAL");
    chain.rules.splice(place, 1);
    return;
  }
  const text = (byHandle ? body.slice(2) : body).join(" ");
  const end = verb === "insert" ? 0 : Infinity;
  addRule(ruleset, table, chain, text, statement, byHandle ? place + (verb === "insert" ? 0 : 1) : end);
}

function addRule(
  ruleset: Ruleset,
  table: FakeTable,
  chain: FakeChain,
  text: string,
  statement: Statement,
  at: number,
): void {
  for (const [, target = ""] of text.matchAll(/\b(?:jump|goto) ([\w-]+)/g))
    if (!table.chains.has(target)) throw refusal(statement, "ENOENT", `there is no chain ${target}`);
  // `@th,64,128` are bits of a packet.
  for (const [, set = ""] of text.matchAll(/@(?!(?:ll|nh|th|ih) ?,)([\w-]+)/g))
    if (!table.sets.has(set)) throw refusal(statement, "ENOENT", `there is no set ${set}`);
  chain.rules.splice(at, 0, { handle: handle(ruleset), text });
}

function applyToSet(ruleset: Ruleset, table: FakeTable, statement: Statement, kind: "set" | "map"): void {
  const { verb, target, body } = statement;
  const set = table.sets.get(target.name);
  if (verb === "add" || verb === "create") {
    if (set && verb === "create") throw refusal(statement, "EEXIST");
    if (!set) table.sets.set(target.name, readSet(ruleset, statement, kind));
    const elements = splitStatements(body).find(([word]) => word === "elements");
    if (elements) applyToElements(table, { ...statement, body: elements.slice(3, -1) });
    return;
  }
  if (set?.kind !== kind) throw refusal(statement, "ENOENT");
  if (verb === "flush") set.elements.clear();
  else {
    if (isReferred(table, new RegExp(`@${RegExp.escape(target.name)}(?![\\w-])`))) throw refusal(statement, "EBUSY");
    table.sets.delete(target.name);
  }
}

function readSet(ruleset: Ruleset, statement: Statement, kind: "set" | "map"): FakeSet {
  const properties = new Map(splitStatements(statement.body).map(([word = "", ...rest]) => [word, rest]));
  // A type of expressions, `typeof ip daddr . tcp dport`, is kept as it is written.
  const [key = "", value] = (properties.get("type") ?? properties.get("typeof") ?? []).join(" ").split(" : ");
  if (key === "" || (kind === "map") !== (value !== undefined)) throw refusal(statement, "EINVAL");
  const flags = (properties.get("flags") ?? []).filter((word) => word !== ",");
  return { handle: handle(ruleset), kind, key, value, flags, elements: new Map() };
}

function applyToElements(table: FakeTable, statement: Statement): void {
  const { verb, target, body } = statement;
  const set = table.sets.get(target.name);
  if (!set) throw refusal(statement, "ENOENT");
  for (const [key, value] of readElements(body)) {
    const known = set.elements.has(key);
    if (verb === "delete") {
      if (!set.elements.delete(key)) throw refusal(statement, "ENOENT");
      continue;
    }
    if ((set.kind === "map") !== (value !== undefined)) throw refusal(statement, "EINVAL");
    if (known && (verb === "create" || set.elements.get(key) !== value)) throw refusal(statement, "EEXIST");
    set.elements.set(key, value);
  }
}

function readElements(body: readonly string[]): (readonly [string, string | undefined])[] {
  const items = body
    .filter((token) => token !== "\n")
    .map(canonicalWord)
    .join(" ")
    .split(" , ");
  return items.map((item): readonly [string, string | undefined] => {
    const [key = "", value] = item.split(" : ");
    return [key, value];
  });
}

function isReferred(table: FakeTable, reference: RegExp): boolean {
  const inRules = table.chains.values().some(({ rules }) => rules.some(({ text }) => reference.test(text)));
  return (
    inRules ||
    table.sets.values().some(({ elements }) => elements.values().some((value) => reference.test(value ?? "")))
  );
}

function handle(ruleset: Ruleset): number {
  ruleset.nextHandle += 1;
  return ruleset.nextHandle - 1;
}

function refusal(statement: Statement, code: string, detail?: string): KernelError {
  return new KernelError({ operation: "nft", device: describe(statement), code, detail });
}

function describe({ verb, kind, target }: { verb: string; kind: string; target: Target }): string {
  return [verb, kind, target.family, target.table, target.name].filter((word) => word !== "").join(" ");
}
