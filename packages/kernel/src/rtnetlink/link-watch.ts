// Tells when links came, went, or changed, by the kernel's own notifications.
import { Protocol, type RawNetlinkSocket } from "netlink";
import { closeNetlinkSocket, onOwnTurn, openNetlinkSocket } from "../netlink-socket.ts";

const RTNLGRP_LINK = 1;
/** A container's start is a dozen changes; one call back for all of them is enough. */
const GATHER_MS = 100;
/** A process without a free descriptor may be so for long; each try to open a socket rests twice as long as the last. */
const LONGEST_REST_MS = 30_000;

/** What a notification says is not read: whoever is called looks at the links as they are by then. */
export class LinkWatcher implements Disposable {
  readonly #changed: () => void;
  #socket: RawNetlinkSocket | undefined;
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
    const socket = openNetlinkSocket(Protocol.ROUTE);
    try {
      socket.addMembership(RTNLGRP_LINK);
    } catch (error) {
      closeNetlinkSocket(socket);
      throw error;
    }
    this.#socket = socket;
    const ifCurrent = (act: () => void) =>
      onOwnTurn(() => {
        if (socket === this.#socket) act();
      });
    socket.on(
      "message",
      ifCurrent(() => this.#schedule()),
    );
    socket.on(
      "truncatedMessage",
      ifCurrent(() => this.#schedule()),
    );
    socket.on(
      "error",
      ifCurrent(() => this.#reopen()),
    );
  }

  /** Without a socket we would never hear of anything again. What changed until the new one listens counts as a change. */
  #reopen(rest = GATHER_MS): void {
    this.#close();
    // Not at once: an error that comes again with each new socket would keep the process busy with nothing else.
    this.#reopening = setTimeout(() => {
      this.#schedule();
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

  #schedule(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#changed();
    }, GATHER_MS).unref();
  }
}
