// PORTOLAN_DEBUG_NETLINK=1 writes every netlink message to stderr, one line each.
import { Flags, FlagsAck, FlagsGet, FlagsNew, MessageType, rt, type NetlinkMessage } from "netlink";
import { NLMSG_ERROR } from "./reply.ts";

export interface Trace {
  readonly sent: (message: Pick<NetlinkMessage, "type" | "flags" | "seq">, payload: Buffer, purpose: string) => void;
  readonly received: (message: NetlinkMessage) => void;
}

/** For sockets whose messages hold secrets. */
export const silent: Trace = { sent: () => undefined, received: () => undefined };

/** Reads the switch once, at the opening of a socket. */
export function openTrace(environment = process.env, write = (line: string) => void process.stderr.write(line)): Trace {
  if (!environment.PORTOLAN_DEBUG_NETLINK) return silent;
  return {
    sent: ({ type, flags, seq }, payload, purpose) =>
      write(
        `netlink > ${seq} ${typeName(type)} ${requestFlags(type, flags)} (${purpose}) ${payload.toString("hex")}\n`,
      ),
    received: ({ type, flags, seq, data }) =>
      write(`netlink < ${seq} ${typeName(type)} ${replyFlags(type, flags)} ${data.toString("hex")}\n`),
  };
}

function typeName(type: number): string {
  return MessageType[type] ?? (rt.MessageType as Readonly<Record<number, string>>)[type] ?? `type ${type}`;
}

/** The upper flags mean one thing in a request to get, another in a request to make. */
function requestFlags(type: number, flags: number): string {
  return flagNames(flags, Flags, typeName(type).startsWith("GET") ? FlagsGet : FlagsNew);
}

function replyFlags(type: number, flags: number): string {
  return type === NLMSG_ERROR ? flagNames(flags, Flags, FlagsAck) : flagNames(flags, Flags);
}

function flagNames(flags: number, ...sets: readonly object[]): string {
  const names = sets.flatMap((set) => Object.entries(set) as [string, unknown][]);
  const matching = names.filter(([, bit]) => typeof bit === "number" && isOneBit(bit) && (flags & bit) !== 0);
  return matching.map(([name]) => name).join("|") || "-";
}

const isOneBit = (value: number) => (value & (value - 1)) === 0;
