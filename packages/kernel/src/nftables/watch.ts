// Tells when somebody else changed the ruleset, and which tables, by the kernel's own notifications.
import { parseAttributes, parseMessages, Protocol, type NetlinkMessage, type RawNetlinkSocket } from "netlink";
import type { RulesetChange } from "../kernel.ts";
import { closeNetlinkSocket, onOwnTurn, openNetlinkSocket, ownPorts } from "../netlink-socket.ts";

const NFNLGRP_NFTABLES = 7;
const NFNL_SUBSYS_NFTABLES = 10;
const NFT_MSG_NEWGEN = (NFNL_SUBSYS_NFTABLES << 8) | 15;
const NFTA_GEN_ID = 1;
/** The table of whatever the message tells of has this number in all of them: NFTA_TABLE_NAME, NFTA_RULE_TABLE, … */
const NFTA_TABLE = 1;
const NFGENMSG_LENGTH = 4;
/** The first byte of `nfgenmsg`, as nft calls it. */
const FAMILIES: Readonly<Record<number, string>> = {
  1: "inet",
  2: "ip",
  3: "arp",
  5: "netdev",
  7: "bridge",
  10: "ip6",
};

/** A firewall reload is hundreds of transactions; one call back for all of them is enough. */
const GATHER_MS = 100;

/** A process without a free descriptor may be so for long; each try to open a socket rests twice as long as the last. */
const LONGEST_REST_MS = 30_000;

/**
 * Every object and element that a transaction adds or deletes is a message, and the last one is a NEWGEN. They carry the
 * netlink port of whoever asked for the transaction, which tells our own from others'; NEWGEN has a number that grows by one,
 * which tells that notifications were lost in an overflow.
 */
export class RulesetWatcher implements Disposable {
  readonly #changed: (change: RulesetChange) => void;
  #socket: RawNetlinkSocket | undefined;
  #generation: number | undefined;
  /** Ports that this process had when it last looked, and once before: libnftables may open another socket at any time. */
  #own: ReadonlySet<number> = new Set();
  #ownBefore: ReadonlySet<number> = new Set();
  /** Tables that were touched since the last report, by the port of who did it. */
  #touched = new Map<number, Set<string>>();
  #lost = false;
  #timer: NodeJS.Timeout | undefined;
  #reopening: NodeJS.Timeout | undefined;

  constructor(changed: (change: RulesetChange) => void) {
    this.#changed = changed;
    this.#open();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#reopening);
    this.#close();
  }

  #open(): void {
    const socket = openNetlinkSocket(Protocol.NETFILTER);
    try {
      socket.addMembership(NFNLGRP_NFTABLES);
    } catch (error) {
      closeNetlinkSocket(socket);
      throw error;
    }
    this.#socket = socket;
    this.#generation = undefined;
    const receive = (datagram: Buffer) => {
      if (socket !== this.#socket) return;
      try {
        for (const message of parseMessages(datagram)) this.#receive(message);
      } catch {
        this.#missed();
      }
    };
    const fail = () => {
      if (socket === this.#socket) this.#reopen();
    };
    socket.on("message", onOwnTurn(receive));
    socket.on("error", onOwnTurn(fail));
  }

  /** Without a socket we would never hear of anything again. What changed until the new one listens counts as a change. */
  #reopen(rest = GATHER_MS): void {
    this.#close();
    // Not at once: an error that comes again with each new socket would keep the process busy with nothing else.
    this.#reopening = setTimeout(() => {
      this.#missed();
      try {
        this.#open();
      } catch {
        this.#reopen(Math.min(2 * rest, LONGEST_REST_MS));
      }
    }, rest).unref();
  }

  #close(): void {
    if (this.#socket) closeNetlinkSocket(this.#socket);
    this.#socket = undefined;
  }

  #receive(message: NetlinkMessage): void {
    const { type, port } = message;
    if (type >> 8 !== NFNL_SUBSYS_NFTABLES) return;
    if (type === NFT_MSG_NEWGEN) {
      const generation = readGeneration(message);
      if (this.#generation !== undefined && generation !== (this.#generation + 1) >>> 0) this.#missed();
      this.#generation = generation;
    }
    if (this.#isOwn(port)) return;
    const tables = this.#touched.get(port) ?? new Set();
    this.#touched.set(port, tables);
    if (type !== NFT_MSG_NEWGEN) tables.add(readTable(message));
    this.#schedule();
  }

  #isOwn(port: number): boolean {
    return this.#own.has(port) || this.#ownBefore.has(port);
  }

  #missed(): void {
    this.#lost = true;
    this.#schedule();
  }

  #schedule(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#report();
    }, GATHER_MS).unref();
  }

  #report(): void {
    const touched = this.#touched;
    const lost = this.#lost;
    this.#touched = new Map();
    this.#lost = false;
    if (touched.size > 0) this.#lookForOwn();
    const foreign = [...touched].filter(([port]) => !this.#isOwn(port));
    if (!lost && foreign.length === 0) return;
    this.#changed({ lost, tables: new Set(foreign.flatMap(([, tables]) => [...tables])) });
  }

  #lookForOwn(): void {
    try {
      const own = ownPorts(Protocol.NETFILTER);
      if (own.symmetricDifference(this.#own).size === 0) return;
      this.#ownBefore = this.#own;
      this.#own = own;
    } catch {
      // Without a free descriptor nobody can tell; what may be ours then counts as others'.
    }
  }
}

function readGeneration({ data }: NetlinkMessage): number {
  let generation = 0;
  parseAttributes(data.subarray(NFGENMSG_LENGTH), ({ type, data: value }) => {
    if (type === NFTA_GEN_ID) generation = value.readUInt32BE(0);
  });
  return generation;
}

/** As in `inet portolan`. */
function readTable({ data }: NetlinkMessage): string {
  let name = "";
  parseAttributes(data.subarray(NFGENMSG_LENGTH), ({ type, data: value }) => {
    if (type === NFTA_TABLE) name = value.toString("utf8").replace(/\0.*$/s, "");
  });
  return `${FAMILIES[data[0] ?? 0] ?? "?"} ${name}`;
}
