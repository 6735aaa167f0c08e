// What should stand in the filter table, and what has to change for it: rules as iptables writes them, no system calls.
import { isDeepStrictEqual } from "node:util";
import type { LinksBeside } from "../kernel.ts";

/** A rule without its chain, as in `-i pt-+ -j ACCEPT`. What we cannot read is `UNREADABLE`. */
export type Rule = string;

export const CHAIN = "PORTOLAN-FORWARD";
/** How a chain of ours is called. */
export const jumpTo = (chain: string): Rule => `-j ${chain}`;
export const UNREADABLE: Rule = "?";
const DOCKERS_CALL: Rule = "-j DOCKER-USER";

/** The rules of the chains that matter to us; undefined when a chain does not exist. */
export interface FilterTable {
  readonly forward: readonly Rule[];
  readonly dockerUser: readonly Rule[] | undefined;
  readonly ours: readonly Rule[] | undefined;
}

type CallingChain = "FORWARD" | "DOCKER-USER";

export interface Change {
  /** The whole content of our chain, when it has to be written. */
  readonly refill?: readonly Rule[];
  /** Where jumps go in, one a chain at most: before the rule with this number, counted from 0 before anything changed. */
  readonly insert: readonly { readonly chain: CallingChain; readonly before: number }[];
  /** Jumps to take out, numbered as they were before anything changed. */
  readonly take: readonly { readonly chain: CallingChain; readonly number: number }[];
  /** Our chain goes too. */
  readonly drop: boolean;
}

/** Docker's own bridges: docker0, swarm's gateway, and `br-` with the network's id. */
const DOCKERS = ["docker0", "docker_gwbridge", "br-+"];

/** What others call a link may look like a name of Docker's making. */
const looksLikeDockers = (name: string) => name.startsWith("br-");
const isDockersOwnName = (name: string) => DOCKERS.includes(name) || looksLikeDockers(name);

/**
 * Traffic between our links and Docker's own returns to the caller, so that Docker's rules decide which of its containers'
 * ports can be reached; everything else of ours is accepted here and filtered in our own table. Names that begin with `br-`
 * are Docker's until they are known not to be: a network that Docker has just made is in nobody's list yet.
 * @param names links of ours beside those with the prefix
 */
export function rulesFor(prefix: string, names: readonly string[] = [], beside: LinksBeside = {}): readonly Rule[] {
  const ours = [`${prefix}+`, ...names];
  const dockers = [...DOCKERS, ...(beside.dockers ?? []).filter((name) => !isDockersOwnName(name))];
  const others = (beside.others ?? []).filter(looksLikeDockers);
  const among = ours.flatMap((one) => ours.map((other) => [one, other] as const));
  const mistakable = [
    ...among.filter((pair) => pair.some(looksLikeDockers)),
    ...ours.flatMap((one) => others.flatMap((other) => [[one, other] as const, [other, one] as const])),
  ];
  return [
    ...mistakable.map(([one, other]) => `-i ${one} -o ${other} -j ACCEPT`),
    ...ours.flatMap((link) =>
      dockers.flatMap((docker) => [`-i ${link} -o ${docker} -j RETURN`, `-i ${docker} -o ${link} -j RETURN`]),
    ),
    ...ours.flatMap((link) => [`-i ${link} -j ACCEPT`, `-o ${link} -j ACCEPT`]),
  ];
}

/** @returns undefined when everything stands as it should */
export function planAccept(table: FilterTable, rules: readonly Rule[], jump = jumpTo(CHAIN)): Change | undefined {
  const intact = table.ours !== undefined && isSame(table.ours, rules);
  const places = placeJumps(table, jump);
  const insert = places.flatMap((place) => ("before" in place ? [place] : []));
  const keep = places.flatMap((place) => ("number" in place ? [place] : []));
  const take = jumpsIn(table, jump).filter((found) => !keep.some((kept) => isDeepStrictEqual(kept, found)));
  if (intact && insert.length === 0 && take.length === 0) return undefined;
  return { ...(!intact && { refill: rules }), insert, take, drop: false };
}

/** @returns undefined when there is nothing of ours */
export function planRemoval(table: FilterTable, jump = jumpTo(CHAIN)): Change | undefined {
  const take = jumpsIn(table, jump);
  if (take.length === 0 && table.ours === undefined) return undefined;
  return { insert: [], take, drop: table.ours !== undefined };
}

interface Jump {
  readonly chain: CallingChain;
  readonly number: number;
}

/** A jump that stays where it is, or one that has to go in. */
type Place = Jump | Change["insert"][number];

/**
 * In DOCKER-USER the jump stands last, so that what an administrator wrote there holds for our links too, but before the
 * bare RETURN with which Docker up to 27 ends that chain. A second one stands in FORWARD behind Docker's own call of
 * DOCKER-USER: Docker 28 takes that call out at each start, and puts it back 20 ms later. Without Docker there is only the
 * one in FORWARD, and it stands first.
 */
function placeJumps({ forward, dockerUser }: FilterTable, jump: Rule): readonly Place[] {
  if (dockerUser === undefined) {
    const number = forward.indexOf(jump);
    return [number < 0 ? { chain: "FORWARD", before: 0 } : { chain: "FORWARD", number }];
  }
  const end = dockerUser.indexOf("-j RETURN");
  const reachable = end < 0 ? dockerUser : dockerUser.slice(0, end);
  const number = reachable.indexOf(jump);
  const spare = forward.indexOf(jump, forward.indexOf(DOCKERS_CALL) + 1);
  return [
    number < 0 ? { chain: "DOCKER-USER", before: reachable.length } : { chain: "DOCKER-USER", number },
    spare < 0 ? { chain: "FORWARD", before: forward.length } : { chain: "FORWARD", number: spare },
  ];
}

function jumpsIn({ forward, dockerUser = [] }: FilterTable, jump: Rule): Jump[] {
  const find = (chain: CallingChain, rules: readonly Rule[]) =>
    rules.flatMap((rule, number) => (rule === jump ? [{ chain, number }] : []));
  return [...find("FORWARD", forward), ...find("DOCKER-USER", dockerUser)];
}

const isSame = (a: readonly Rule[], b: readonly Rule[]) =>
  a.length === b.length && a.every((rule, index) => rule === b[index]);

/** Chains in which Docker has a rule or two for each of its bridges, and nobody else has any. FORWARD has them until 27. */
export const CHAINS_OF_BRIDGES = ["DOCKER-BRIDGE", "DOCKER-INTERNAL", "DOCKER-ISOLATION-STAGE-1"];
/** What Docker up to 27 does in FORWARD with what goes to a bridge of its. */
export const TO_DOCKERS_CONTAINERS = "DOCKER";
