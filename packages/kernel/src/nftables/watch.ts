// Tells when somebody else changed the ruleset, by the kernel's own notifications.
import { parseAttributes, parseMessages, Protocol, type NetlinkMessage, type RawNetlinkSocket } from "netlink";
import { closeNetlinkSocket, onOwnTurn, openNetlinkSocket, ownPorts } from "../netlink-socket.ts";

const NFNLGRP_NFTABLES = 7;
const NFT_MSG_NEWGEN = (10 << 8) | 15;
const NFTA_GEN_ID = 1;
const NFGENMSG_LENGTH = 4;

/** A firewall reload is hundreds of transactions; one call back for all of them is enough. */
const GATHER_MS = 100;

/** A process without a free descriptor may be so for long; each try to open a socket rests twice as long as the last. */
const LONGEST_REST_MS = 30_000;

/**
 * Every transaction ends with one NEWGEN message: it carries the netlink port of whoever asked for the transaction, which
 * tells our own from others', and a number that grows by one, which tells that notifications were lost in an overflow.
 */
export class RulesetWatcher implements Disposable {
  readonly #changed: () => void;
  #socket: RawNetlinkSocket | undefined;
  #generation: number | undefined;
  #foreign = new Set<number>();
  #lost = false;
  #timer: NodeJS.Timeout | undefined;
  #reopening: NodeJS.Timeout | undefined;

  constructor(changed: () => void) {
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
    if (message.type !== NFT_MSG_NEWGEN) return;
    const generation = readGeneration(message);
    if (this.#generation !== undefined && generation !== (this.#generation + 1) >>> 0) this.#missed();
    this.#generation = generation;
    this.#foreign.add(message.port);
    this.#schedule();
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

  /** libnftables may open another socket between two transactions; at worst one of our own counts as another's. */
  #report(): void {
    const changed = this.#lost || isForeign(this.#foreign);
    this.#foreign = new Set();
    this.#lost = false;
    if (changed) this.#changed();
  }
}

function isForeign(ports: ReadonlySet<number>): boolean {
  try {
    return ports.difference(ownPorts(Protocol.NETFILTER)).size > 0;
  } catch {
    // Without a free descriptor nobody can tell; a look too many does no harm.
    return true;
  }
}

function readGeneration({ data }: NetlinkMessage): number {
  let generation = 0;
  parseAttributes(data.subarray(NFGENMSG_LENGTH), ({ type, data: value }) => {
    if (type === NFTA_GEN_ID) generation = value.readUInt32BE(0);
  });
  return generation;
}
