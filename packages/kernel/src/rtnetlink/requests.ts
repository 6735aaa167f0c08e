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
import { NLMSG_DONE, NLMSG_ERROR, readAck, readDone, type Verdict } from "./reply.ts";
import { openTrace, silent, type Trace } from "./trace.ts";

export interface Request {
  /** For the error, as in `create bridge`. */
  readonly operation: string;
  readonly device?: string;
  readonly type: number;
  /** Beside REQUEST and ACK, which are always set. */
  readonly flags?: number;
  readonly payload: Buffer;
}

export interface RequestLimits {
  /** Milliseconds until a request without an answer is given up with ETIMEDOUT. */
  readonly timeout: number;
  /** How often a dump that the kernel calls inconsistent is asked for again. The last answer is taken as it is. */
  readonly dumpTries: number;
}

/** npm netlink aborts the process when some 250 answers wait in its default receive buffer; ours stays far below. */
const MOST_IN_FLIGHT = 32;
const LIMITS: RequestLimits = { timeout: 10_000, dumpTries: 5 };

interface Job {
  readonly request: Request;
  readonly dump: boolean;
  readonly settle: PromiseWithResolvers<readonly NetlinkMessage[]>;
  readonly parts: NetlinkMessage[];
  timer?: NodeJS.Timeout;
}

/**
 * Answers are matched by sequence number, in the order they come. Requests are sent in the order they were made, at most 32
 * of them unanswered. A dump travels alone, because the kernel runs one per socket and refuses the next with EBUSY.
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
      this.#waiting.shift();
      this.#launch(job);
    }
    if (this.#flying.size === 0) this.#socket?.unref();
  }

  #mayFly(job: Job): boolean {
    const dumping = this.#flying.values().some(({ dump }) => dump);
    return !dumping && this.#flying.size < (job.dump ? 1 : MOST_IN_FLIGHT);
  }

  #launch(job: Job): void {
    const { request, dump } = job;
    this.#sequence = (this.#sequence % 0xffffffff) + 1;
    const seq = this.#sequence;
    this.#flying.set(seq, job);
    job.timer = setTimeout(() => {
      this.#finish(seq, failure(request, "ETIMEDOUT", `no answer within ${this.#limits.timeout} ms`));
    }, this.#limits.timeout);
    try {
      this.#socket ??= this.#open();
      this.#socket.ref();
      const flags = Flags.REQUEST | (dump ? FlagsGet.DUMP : Flags.ACK) | (request.flags ?? 0);
      const message = { type: request.type, flags, seq, port: this.#socket.address().port };
      this.#trace.sent(message, request.payload, subject(request));
      const sent = onOwnTurn((error?: Error) => {
        if (error) this.#finish(seq, failure(request, codeOf(error), error.message));
      });
      this.#socket.send(Buffer.concat(formatMessage({ ...message, data: request.payload })), {}, sent);
    } catch (error) {
      this.#finish(seq, failure(request, codeOf(error), String(error)));
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
    else job.parts.push(frame);
  }

  #conclude(seq: number, job: Job, { errno, message }: Verdict): void {
    this.#finish(seq, errno === 0 ? undefined : failure(job.request, errorCode(errno), message));
  }

  #finish(seq: number, error: KernelError | undefined): void {
    const job = this.#flying.get(seq);
    if (!job) return;
    this.#flying.delete(seq);
    clearTimeout(job.timer);
    if (error) job.settle.reject(error);
    else job.settle.resolve(job.parts);
    this.#pump();
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
