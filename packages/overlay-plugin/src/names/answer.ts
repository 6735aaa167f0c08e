// Decides what a query is answered: from the zone, by others, or not at all. Pure but for the shuffling.
import {
  AUTHORITATIVE_ANSWER,
  decode,
  encode,
  RECURSION_AVAILABLE,
  RECURSION_DESIRED,
  TRUNCATED_RESPONSE,
  type Answer,
  type DecodedPacket,
  type Packet,
  type Question,
} from "dns-packet";
import ipaddr from "ipaddr.js";
import { addressOfReverseName } from "./reverse-name.ts";
import type { Zone } from "./zone.ts";

export type Decision =
  | { readonly kind: "answer"; readonly packet: Buffer; readonly end: "answered" | "refused" | "malformed" }
  /** Others are to be asked, with the same bytes. */
  | { readonly kind: "forward"; readonly refusal: Buffer }
  /** No query at all: an answer would feed a loop. */
  | { readonly kind: "silence" };

/** Containers come and go, and a stub that keeps what it hears would lead to those that went. */
const TTL_SECONDS = 1;
/** Without EDNS (RFC 1035, section 4.2.1), and the most that we say we take with it (DNS flag day 2020). */
const PLAIN_LIMIT = 512;
const EDNS_LIMIT = 1232;
const TCP_LIMIT = 65_535;
const HEADER_LENGTH = 12;
/** The operation code of what everybody asks (RFC 1035, section 4.1.1). */
const QUERY = 0;

/** Response codes of RFC 1035, section 4.1.1: they are the lowest four bits of a packet's flags. */
const codes = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5 } as const;

export interface Asking {
  /** Whose names are asked for: one for a container, all that the host carries for the host; none is a stranger. */
  readonly networks: readonly string[];
  /** Whether others may be asked what the zone does not know. */
  readonly mayForward: boolean;
  readonly transport: "udp" | "tcp";
}

export function decide(query: Buffer, asking: Asking, zone: Zone): Decision {
  // A response, or too short to have a number that an answer could bear.
  if (query.length < HEADER_LENGTH || query.readUInt16BE(2) & 0x8000) return { kind: "silence" };
  const reply = readQuery(query, asking.transport);
  if (typeof reply === "string") return { kind: "answer", end: "malformed", packet: bareAnswer(query, reply) };
  const { networks, mayForward } = asking;
  const answers = networks
    .map((network) => lookUp(reply.question, network, zone))
    .filter((found) => found !== undefined);
  if (answers.length > 0)
    return { kind: "answer", end: "answered", packet: reply.encode("NOERROR", shuffled(answers.flat())) };
  const refusal = reply.encode("REFUSED");
  return mayForward ? { kind: "forward", refusal } : { kind: "answer", end: "refused", packet: refusal };
}

/** Answers of the question's type, none where the name has none of it; undefined when the name is not the zone's. */
function lookUp({ name, type }: Question, network: string, zone: Zone): Answer[] | undefined {
  const plain = name.toLowerCase().replace(/\.$/, "");
  const reversed = addressOfReverseName(plain);
  const common = { name, ttl: TTL_SECONDS, class: "IN" } as const;
  if (reversed !== undefined) {
    const names = zone.names(network, reversed);
    if (names.length === 0) return undefined;
    return type === "PTR" ? names.map((data) => ({ ...common, type, data })) : [];
  }
  const addresses = zone.addresses(network, plain);
  if (!addresses) return undefined;
  if (type !== "A" && type !== "AAAA") return [];
  const family = type === "A" ? "ipv4" : "ipv6";
  const matching = addresses.filter((address) => ipaddr.parse(address).kind() === family);
  return matching.map((data) => ({ ...common, type, data }));
}

interface Reply {
  readonly question: Question;
  encode(code: keyof typeof codes, answers?: readonly Answer[]): Buffer;
}

function readQuery(query: Buffer, transport: Asking["transport"]): Reply | keyof typeof codes {
  if (((query.readUInt16BE(2) >> 11) & 0xf) !== QUERY) return "NOTIMP";
  let packet: DecodedPacket;
  try {
    packet = decode(query);
  } catch {
    return "FORMERR";
  }
  const [question, ...more] = packet.questions ?? [];
  if (!question || more.length > 0) return "FORMERR";
  const edns = packet.additionals?.find(({ type }) => type === "OPT") as { udpPayloadSize?: number } | undefined;
  const limit = transport === "tcp" ? TCP_LIMIT : limitOf(edns);
  const base: Packet = {
    type: "response",
    ...(packet.id !== undefined && { id: packet.id }),
    questions: [question],
    ...(edns && { additionals: [OWN_EDNS] }),
  };
  const wanted = (packet.flags ?? 0) & RECURSION_DESIRED;
  return {
    question,
    encode(code, answers = []) {
      const authority = code === "NOERROR" ? AUTHORITATIVE_ANSWER : 0;
      const flags = wanted | RECURSION_AVAILABLE | authority | codes[code];
      for (let count = answers.length; ; count -= 1) {
        const isWhole = count === answers.length;
        const cut = isWhole ? 0 : TRUNCATED_RESPONSE;
        const bytes = encode({ ...base, flags: flags | cut, answers: answers.slice(0, count) });
        if (bytes.length <= limit || count === 0) return bytes;
      }
    },
  };
}

function limitOf(edns: { readonly udpPayloadSize?: number } | undefined): number {
  if (!edns) return PLAIN_LIMIT;
  return Math.min(Math.max(edns.udpPayloadSize ?? PLAIN_LIMIT, PLAIN_LIMIT), EDNS_LIMIT);
}

const OWN_EDNS: Answer = {
  type: "OPT",
  name: ".",
  udpPayloadSize: EDNS_LIMIT,
  flags: 0,
  ednsVersion: 0,
  extendedRcode: 0,
  flag_do: false,
  options: [],
};

/** For what can't be read further than its header: number, RD and operation go back as they came. */
function bareAnswer(query: Buffer, code: keyof typeof codes): Buffer {
  const header = Buffer.alloc(HEADER_LENGTH);
  header.writeUInt16BE(query.readUInt16BE(0), 0);
  const sent = query.readUInt16BE(2);
  header.writeUInt16BE(0x8000 | (sent & 0x7800) | (sent & RECURSION_DESIRED) | codes[code], 2);
  return header;
}

/** So that clients that take the first one spread over all (Fisher and Yates). */
function shuffled<T>(items: readonly T[]): T[] {
  const result = [...items];
  for (let last = result.length - 1; last > 0; last -= 1) {
    const other = Math.floor(Math.random() * (last + 1));
    [result[last], result[other]] = [result[other] as T, result[last] as T];
  }
  return result;
}
