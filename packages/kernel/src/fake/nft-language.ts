// The part of nft's language that the fake kernel understands: text to statements.
import ipaddr from "ipaddr.js";

/** What a statement is about: family, table, and the name inside the table. */
export interface Target {
  readonly family: string;
  readonly table: string;
  readonly name: string;
}

type Verb = "add" | "create" | "insert" | "delete" | "flush";
type ObjectKind = "ruleset" | "table" | "chain" | "rule" | "set" | "map" | "element";

export interface Statement {
  readonly verb: Verb;
  readonly kind: ObjectKind;
  readonly target: Target;
  /** What follows the names, one level of braces taken off. */
  readonly body: readonly string[];
}

export class NftSyntaxError extends Error {}

const FAMILIES = new Set(["ip", "ip6", "inet", "arp", "bridge", "netdev"]);
const VERBS = new Set<string>(["add", "create", "insert", "delete", "flush"]);
const KINDS = new Set<string>(["ruleset", "table", "chain", "rule", "set", "map", "element"]);
/** How many names stand behind the family. */
const NAMES: Readonly<Record<ObjectKind, number>> = {
  ruleset: 0,
  table: 1,
  chain: 2,
  rule: 2,
  set: 2,
  map: 2,
  element: 2,
};

/** @throws NftSyntaxError */
export function parseCommands(text: string): Statement[] {
  return splitStatements(tokenize(text)).flatMap(parseStatement);
}

/** Words, strings without their quotes' meaning, and `{ } ; ,` and line ends on their own. */
function tokenize(text: string): string[] {
  const withoutComments = text.replace(/("[^"\n]*")|#.*$/gm, "$1");
  return withoutComments.match(/"[^"\n]*"|[{};,\n]|[^\s{};,"]+/g) ?? [];
}

/** Statements end at a `;` or a line's end outside all braces. */
export function splitStatements(tokens: readonly string[]): string[][] {
  const statements: string[][] = [[]];
  let depth = 0;
  for (const token of tokens) {
    if (token === "{") depth += 1;
    if (token === "}") depth -= 1;
    if (depth < 0) throw new NftSyntaxError("syntax error, unexpected '}'");
    const ends = depth === 0 && (token === ";" || token === "\n");
    if (ends) statements.push([]);
    else statements.at(-1)?.push(token);
  }
  if (depth > 0) throw new NftSyntaxError("syntax error, unexpected end of file");
  return statements.map((statement) => trimLines(statement)).filter((statement) => statement.length > 0);
}

function parseStatement(tokens: readonly string[]): Statement[] {
  const [first = ""] = tokens;
  const verb = (VERBS.has(first) ? first : "add") as Verb;
  const rest = VERBS.has(first) ? tokens.slice(1) : tokens;
  const [kind = ""] = rest;
  if (!KINDS.has(kind)) throw new NftSyntaxError(`syntax error, unexpected ${kind || "end of line"}`);
  const { target, body } = readTarget(kind as ObjectKind, rest.slice(1));
  const statement = { verb, kind: kind as ObjectKind, target, body: unwrap(body) };
  return kind === "table" ? [{ ...statement, body: [] }, ...parseTableBody(target, statement.body)] : [statement];
}

/** `table inet t { … }`: its chains, sets and maps as statements of their own. Rules come last: they may name any of them. */
function parseTableBody({ family, table }: Target, body: readonly string[]): Statement[] {
  const statements = splitBlocks(body).flatMap((block): Statement[] => {
    const [kind = "", name = "", ...content] = block;
    if (kind === "comment" || kind === "flags") return [];
    if (kind !== "chain" && kind !== "set" && kind !== "map")
      throw new NftSyntaxError(`syntax error, unexpected ${kind} in a table`);
    return [{ verb: "add", kind, target: { family, table, name }, body: unwrap(content) }];
  });
  const chains = statements.filter(({ kind }) => kind === "chain");
  const declared = chains.map((chain) => ({ ...chain, body: [] }));
  return [...declared, ...statements.filter(({ kind }) => kind !== "chain"), ...chains];
}

/** Blocks that end with their closing brace, and lines. */
function splitBlocks(tokens: readonly string[]): string[][] {
  const separated = tokens.flatMap((token, index) => (isBlockEnd(tokens, index) ? [token, "\n"] : [token]));
  return splitStatements(separated);
}

function isBlockEnd(tokens: readonly string[], index: number): boolean {
  return tokens[index] === "}" && depthAt(tokens, index) === 1;
}

const depthAt = (tokens: readonly string[], end: number) =>
  tokens.slice(0, end).reduce((depth, token) => depth + (token === "{" ? 1 : token === "}" ? -1 : 0), 0);

function readTarget(kind: ObjectKind, tokens: readonly string[]): { target: Target; body: string[] } {
  const [first = ""] = tokens;
  const family = FAMILIES.has(first) ? first : "ip";
  const rest = FAMILIES.has(first) ? tokens.slice(1) : tokens;
  const names = rest.slice(0, NAMES[kind]);
  if (names.length < NAMES[kind] || names.some((name) => /[{};,]/.test(name)))
    throw new NftSyntaxError("syntax error, expecting string");
  const [table = "", name = ""] = names;
  return { target: { family, table, name }, body: rest.slice(NAMES[kind]) };
}

function unwrap(body: readonly string[]): string[] {
  return body[0] === "{" && body.at(-1) === "}" ? trimLines(body.slice(1, -1)) : [...body];
}

function trimLines(tokens: readonly string[]): string[] {
  const first = tokens.findIndex((token) => token !== "\n");
  const last = tokens.findLastIndex((token) => token !== "\n");
  return first < 0 ? [] : tokens.slice(first, last + 1);
}

/** One spelling for what has several: strings without quotes, IPv6 as RFC 5952 writes it. */
export function canonicalWord(word: string): string {
  const plain = word.replaceAll('"', "");
  const [address = "", length] = plain.split("/");
  if (!address.includes(":") || !ipaddr.IPv6.isValid(address)) return plain;
  const text = ipaddr.IPv6.parse(address).toRFC5952String();
  return length === undefined ? text : `${text}/${length}`;
}
