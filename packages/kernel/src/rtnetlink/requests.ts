// The request queue: everything we say to rtnetlink goes through here, one socket for all; and to conntrack and WireGuard,
// through others.
import {
  Flags,
  FlagsGet,
  formatMessage,
  parseMessages,
  Protocol,
  type NetlinkMessage,
  type RawNetlinkSocket,
} from "netlink";
import { CLOSED, errorCode, KernelError, systemCode } from "../kernel-error.ts";
import { closeNetlinkSocket, onOwnTurn, openNetlinkSocket } from "../netlink-socket.ts";
import { align, NLMSG_DONE, NLMSG_ERROR, readAck, readDone, type Verdict } from "./reply.ts";
import { openTrace, silent, type Trace } from "./trace.ts";

export interface Request {
  /** For the error, as in `create bridge`. */
  readonly operation: string;
  readonly device?: string;
  readonly type: number;
  /** Beside REQUEST and ACK, which are always set. */
  readonly flags?: number;
  readonly payload: Buffer;
  /**
   * One of many, which the kernel answers by an ACK and nothing else. Those that wait together travel in one datagram, of
   * which the kernel is asked to acknowledge the last, and tells the errors of all.
   */
  readonly bulk?: boolean;
}

export interface RequestLimits {
  /** Milliseconds until a request is given up with ETIMEDOUT of which nothing has been heard. */
  readonly timeout: number;
  /** How often a dump that the kernel calls inconsistent is asked for again. The last answer is taken as it is. */
  readonly dumpTries: number;
}

/** npm netlink aborts the process when some 250 answers wait in its default receive buffer; ours stays far below. */
const MOST_IN_FLIGHT = 32;
/** Each may be answered by an error, all at once, so that there are never two datagrams of them in flight. */
const MOST_IN_BULK = 64;
const LIMITS: RequestLimits = { timeout: 10_000, dumpTries: 5 };

interface Job {
  readonly request: Request;
  readonly dump: boolean;
  readonly settle: PromiseWithResolvers<readonly NetlinkMessage[]>;
  readonly parts: NetlinkMessage[];
  timer?: NodeJS.Timeout;
  /** Those before it in its datagram, which its answer is the answer for. */
  ahead?: readonly number[];
}

/**
 * Answers are matched by sequence number, in the order they come. Requests are sent in the order they were made, at most 32
 * of them unanswered, and bulk ones 64 in a datagram. A dump travels alone, because the kernel runs one per socket and refuses the next with EBUSY.
 */
export class Requests implements Disposable {
  readonly #limits: RequestLimits;
  readonly #protocol: Protocol;
  readonly #opener: typeof openNetlinkSocket;
  readonly #trace: Trace;
  readonly #waiting: Job[] = [];
  readonly #flying = new Map<number, Job>();
  #socket: RawNetlinkSocket | undefined;
  #sequence = 0;
  #closed = false;

  /** @param opener for a socket elsewhere than here */
  constructor(limits: Partial<RequestLimits> = {}, protocol: Protocol = Protocol.ROUTE, opener = openNetlinkSocket) {
    this.#limits = { ...LIMITS, ...limits };
    this.#protocol = protocol;
    // WireGuard's private keys go this way, and belong in no log.
    this.#trace = protocol === Protocol.GENERIC ? silent : openTrace();
    this.#opener = opener;
    this.#socket = this.#open();
  }

  /** Sends one request. @returns the payloads of the answer, none for a plain ACK @throws KernelError */
  async send(request: Request): Promise<readonly Buffer[]> {
    return (await this.#enqueue(request, false)).map(({ data }) => data);
  }

  /** Asks for a whole table, again when it changed meanwhile. @throws KernelError */
  async dump(request: Request): Promise<readonly Buffer[]> {
    for (let attempt = 1; ; attempt += 1) {
      const parts = await this.#enqueue(request, true);
      const consistent = parts.every(({ flags }) => (flags & Flags.DUMP_INTR) === 0);
      if (consistent || attempt === this.#limits.dumpTries) return parts.map(({ data }) => data);
    }
  }

  /** Requests without an answer fail with ECANCELED. */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#drop(CLOSED.code, CLOSED.detail);
  }

  #enqueue(request: Request, dump: boolean): Promise<readonly NetlinkMessage[]> {
    if (this.#closed) return Promise.reject(failure(request, CLOSED.code, CLOSED.detail));
    const settle = Promise.withResolvers<readonly NetlinkMessage[]>();
    this.#waiting.push({ request, dump, settle, parts: [] });
    this.#pump();
    return settle.promise;
  }

  #pump(): void {
    for (let job = this.#waiting[0]; job && this.#mayFly(job); job = this.#waiting[0]) {
      let count = 1;
      while (job.request.bulk && count < MOST_IN_BULK && this.#waiting[count]?.request.bulk) count += 1;
      this.#launch(this.#waiting.splice(0, count));
    }
    if (this.#flying.size === 0) this.#socket?.unref();
  }

  #mayFly({ dump, request }: Job): boolean {
    if (dump) return this.#flying.size === 0;
    let others = 0;
    for (const job of this.#flying.values()) {
      if (job.dump || (job.request.bulk && request.bulk)) return false;
      if (!job.request.bulk) others += 1;
    }
    return others < MOST_IN_FLIGHT;
  }

  /** Sends one job, or several bulk ones, as one datagram. */
  #launch(jobs: readonly Job[]): void {
    const numbers = jobs.map(() => (this.#sequence = (this.#sequence % 0xffffffff) + 1));
    const last = numbers.at(-1) ?? 0;
    for (const [at, job] of jobs.entries()) this.#flying.set(numbers[at] ?? 0, job);
    const final = jobs.at(-1);
    if (!final) return;
    final.ahead = numbers.slice(0, -1);
    const fail = (code: string, detail: string) => {
      for (const [at, { request }] of jobs.entries()) this.#settle(numbers[at] ?? 0, failure(request, code, detail));
      this.#pump();
    };
    final.timer = setTimeout(
      () => fail("ETIMEDOUT", `no answer within ${this.#limits.timeout} ms`),
      this.#limits.timeout,
    );
    try {
      this.#socket ??= this.#open();
      this.#socket.ref();
      const { port } = this.#socket.address();
      const parts = jobs.flatMap(({ request, dump }, at) => {
        const seq = numbers[at] ?? 0;
        const answer = dump ? FlagsGet.DUMP : seq === last ? Flags.ACK : 0;
        const message = { type: request.type, flags: Flags.REQUEST | answer | (request.flags ?? 0), seq, port };
        this.#trace.sent(message, request.payload, subject(request));
        // The next one begins at a multiple of four.
        const { length } = request.payload;
        return [...formatMessage({ ...message, data: request.payload }), Buffer.alloc(align(length) - length)];
      });
      const sent = onOwnTurn((error?: Error) => {
        if (error) fail(codeOf(error), error.message);
      });
      this.#socket.send(Buffer.concat(parts), {}, sent);
    } catch (error) {
      fail(codeOf(error), String(error));
    }
  }

  #open(): RawNetlinkSocket {
    const socket = this.#opener(this.#protocol);
    const receive = (datagram: Buffer) => {
      if (socket !== this.#socket) return;
      try {
        for (const frame of parseMessages(datagram)) this.#receive(frame);
      } catch (error) {
        this.#drop("EBADMSG", String(error));
      }
    };
    // The next socket may be open by the time an error of this one arrives.
    const fail = (error: Error) => {
      if (socket === this.#socket) this.#drop(codeOf(error), error.message);
    };
    socket.on("message", onOwnTurn(receive));
    socket.on("error", onOwnTurn(fail));
    return socket;
  }

  #receive(frame: NetlinkMessage): void {
    this.#trace.received(frame);
    const job = this.#flying.get(frame.seq);
    // Nobody waits for it any longer: it has timed out.
    if (!job) return;
    if (frame.type === NLMSG_ERROR) this.#conclude(frame.seq, job, readAck(frame));
    else if (frame.type === NLMSG_DONE) this.#conclude(frame.seq, job, readDone(frame));
    else {
      job.parts.push(frame);
      // A table of a hundred thousand entries takes its time, and to give it up would leave the socket busy with it.
      job.timer?.refresh();
    }
  }

  #conclude(seq: number, job: Job, { errno, message }: Verdict): void {
    this.#finish(seq, errno === 0 ? undefined : failure(job.request, errorCode(errno), message));
  }

  /** What was sent before it in the same datagram, and had no error, is done. */
  #finish(seq: number, error: KernelError | undefined): void {
    for (const before of this.#flying.get(seq)?.ahead ?? []) this.#settle(before, undefined);
    this.#settle(seq, error);
    this.#pump();
  }

  #settle(seq: number, error: KernelError | undefined): void {
    const job = this.#flying.get(seq);
    if (!job) return;
    this.#flying.delete(seq);
    clearTimeout(job.timer);
    if (error) job.settle.reject(error);
    else job.settle.resolve(job.parts);
  }

  /** The socket is of no more use: whoever waits for an answer hears so, the next request opens another one. */
  #drop(code: string, detail: string): void {
    if (this.#socket) closeNetlinkSocket(this.#socket);
    this.#socket = undefined;
    const lost = [...this.#flying.values(), ...(this.#closed ? this.#waiting.splice(0) : [])];
    this.#flying.clear();
    for (const { request, settle, timer } of lost) {
      clearTimeout(timer);
      settle.reject(failure(request, code, detail));
    }
    if (!this.#closed) this.#pump();
  }
}

const subject = ({ operation, device }: Request) => (device === undefined ? operation : `${operation} ${device}`);

function failure({ operation, device }: Request, code: string, detail: string | undefined): KernelError {
  return new KernelError({ operation, device, code, detail });
}

const codeOf = (error: unknown) => systemCode(error) ?? "EIO";
