// What should stand in the filter table, and what has to change for it: rules as iptables writes them, no system calls.

/** A rule without its chain, as in `-i pt-+ -j ACCEPT`. What we cannot read is `UNREADABLE`. */
export type Rule = string;

export const CHAIN = "PORTOLAN-FORWARD";
export const JUMP: Rule = `-j ${CHAIN}`;
export const UNREADABLE: Rule = "?";

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
  /** Where the jump goes in: before the rule with this number, counted from 0. */
  readonly insert?: { readonly chain: CallingChain; readonly before: number };
  /** Jumps to take out, numbered as they were before anything changed. */
  readonly take: readonly { readonly chain: CallingChain; readonly number: number }[];
  /** Our chain goes too. */
  readonly drop: boolean;
}

/** Docker's own bridges: docker0, swarm's gateway, and `br-` with the network's id. */
const DOCKERS = ["docker0", "docker_gwbridge", "br-+"];

/** What a user calls a bridge may look like a name of Docker's making. */
const looksLikeDockers = (name: string) => name.startsWith("br-");

/**
 * Traffic between our links and Docker's own returns to the caller, so that Docker's rules decide which of its containers'
 * ports can be reached; everything else of ours is accepted here and filtered in our own table.
 * @param names links of ours beside those with the prefix
 */
export function rulesFor(prefix: string, names: readonly string[] = []): readonly Rule[] {
  const ours = [`${prefix}+`, ...names];
  const among = ours.flatMap((one) => ours.map((other) => [one, other] as const));
  const mistakable = among.filter((pair) => pair.some(looksLikeDockers));
  return [
    ...mistakable.map(([one, other]) => `-i ${one} -o ${other} -j ACCEPT`),
    ...ours.flatMap((link) =>
      DOCKERS.flatMap((docker) => [`-i ${link} -o ${docker} -j RETURN`, `-i ${docker} -o ${link} -j RETURN`]),
    ),
    ...ours.flatMap((link) => [`-i ${link} -j ACCEPT`, `-o ${link} -j ACCEPT`]),
  ];
}

/** @returns undefined when everything stands as it should */
export function planAccept(table: FilterTable, rules: readonly Rule[]): Change | undefined {
  const intact = table.ours !== undefined && isSame(table.ours, rules);
  const { insert, keep } = placeJump(table);
  const take = jumpsIn(table).filter(({ chain, number }) => chain !== keep?.chain || number !== keep.number);
  if (intact && !insert && take.length === 0) return undefined;
  return { ...(!intact && { refill: rules }), ...(insert && { insert }), take, drop: false };
}

/** @returns undefined when there is nothing of ours */
export function planRemoval(table: FilterTable): Change | undefined {
  const take = jumpsIn(table);
  if (take.length === 0 && table.ours === undefined) return undefined;
  return { take, drop: table.ours !== undefined };
}

interface Jump {
  readonly chain: CallingChain;
  readonly number: number;
}

/**
 * In DOCKER-USER the jump stands last, so that what an administrator wrote there holds for our links too, but before the
 * bare RETURN with which Docker up to 27 ends that chain. In FORWARD it stands first.
 */
function placeJump({ forward, dockerUser }: FilterTable): {
  insert?: { chain: CallingChain; before: number };
  keep?: Jump;
} {
  if (dockerUser === undefined) {
    const number = forward.indexOf(JUMP);
    return number < 0 ? { insert: { chain: "FORWARD", before: 0 } } : { keep: { chain: "FORWARD", number } };
  }
  const end = dockerUser.indexOf("-j RETURN");
  const reachable = end < 0 ? dockerUser : dockerUser.slice(0, end);
  const number = reachable.indexOf(JUMP);
  if (number >= 0) return { keep: { chain: "DOCKER-USER", number } };
  return { insert: { chain: "DOCKER-USER", before: reachable.length } };
}

function jumpsIn({ forward, dockerUser = [] }: FilterTable): Jump[] {
  const find = (chain: CallingChain, rules: readonly Rule[]) =>
    rules.flatMap((rule, number) => (rule === JUMP ? [{ chain, number }] : []));
  return [...find("FORWARD", forward), ...find("DOCKER-USER", dockerUser)];
}

const isSame = (a: readonly Rule[], b: readonly Rule[]) =>
  a.length === b.length && a.every((rule, index) => rule === b[index]);
