// The request queue: everything we say to rtnetlink goes through here, one socket for all; and to conntrack and WireGuard,
// through others.
import { Flags, FlagsGet, parseMessages, Protocol, type NetlinkMessage, type RawNetlinkSocket } from "netlink";
import { CLOSED, errorCode, KernelError, systemCode } from "../kernel-error.ts";
import { closeNetlinkSocket, onOwnTurn, openNetlinkSocket } from "../netlink-socket.ts";
import { align, NLMSG_DONE, NLMSG_ERROR, NLMSG_HEADER, readAck, readDone, type Verdict } from "./reply.ts";
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
}

/** What travels in one datagram: a request, or several bulk ones with numbers that follow each other. */
interface Flight {
  readonly first: number;
  /** Undefined where one has been answered. */
  readonly jobs: (Job | undefined)[];
  readonly kind: "dump" | "bulk" | "single";
  readonly timer: NodeJS.Timeout;
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
  /** An array: tables of a map that has grown old would keep what was in them alive, some hundred bytes for each request. */
  readonly #flying: Flight[] = [];
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

  get isClosed(): boolean {
    return this.#closed;
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
    if (this.#flying.length === 0) this.#socket?.unref();
  }

  #mayFly({ dump, request }: Job): boolean {
    if (dump) return this.#flying.length === 0;
    const others = this.#flying.filter(({ kind }) => kind === "single").length;
    if (this.#flying.some(({ kind }) => kind === "dump" || (kind === "bulk" && request.bulk))) return false;
    return others < MOST_IN_FLIGHT;
  }

  /** Sends one job, or several bulk ones, as one datagram. */
  #launch(jobs: Job[]): void {
    const [lead] = jobs;
    if (!lead) return;
    if (this.#sequence + jobs.length > 0xffffffff) this.#sequence = 0;
    const first = this.#sequence + 1;
    this.#sequence += jobs.length;
    const fail = (code: string, detail: string) => {
      this.#end(flight, (job) => job.settle.reject(failure(job.request, code, detail)));
      this.#pump();
    };
    const { timeout } = this.#limits;
    const timer = setTimeout(() => fail("ETIMEDOUT", `no answer within ${timeout} ms`), timeout);
    const kind = lead.dump ? "dump" : lead.request.bulk ? "bulk" : "single";
    const flight: Flight = { first, jobs, kind, timer };
    this.#flying.push(flight);
    try {
      this.#socket ??= this.#open();
      this.#socket.ref();
      const sent = onOwnTurn((error?: Error) => {
        if (error) fail(codeOf(error), error.message);
      });
      this.#socket.send(this.#datagram(flight, this.#socket.address().port), {}, sent);
    } catch (error) {
      fail(codeOf(error), String(error));
    }
  }

  #datagram({ first, jobs }: Flight, port: number): Buffer {
    const requests = jobs.flatMap((job) => job ?? []);
    // Each begins at a multiple of four.
    const length = requests.reduce((sum, { request }) => sum + NLMSG_HEADER + align(request.payload.length), 0);
    const datagram = Buffer.alloc(length);
    let at = 0;
    for (const [number, { request, dump }] of requests.entries()) {
      const { type, payload } = request;
      const seq = first + number;
      const answer = dump ? FlagsGet.DUMP : number === requests.length - 1 ? Flags.ACK : 0;
      const flags = Flags.REQUEST | answer | (request.flags ?? 0);
      this.#trace.sent({ type, flags, seq }, payload, subject(request));
      datagram.writeUInt32LE(NLMSG_HEADER + payload.length, at);
      datagram.writeUInt16LE(type, at + 4);
      datagram.writeUInt16LE(flags, at + 6);
      datagram.writeUInt32LE(seq, at + 8);
      datagram.writeUInt32LE(port, at + 12);
      datagram.set(payload, at + NLMSG_HEADER);
      at += NLMSG_HEADER + align(payload.length);
    }
    return datagram;
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
    const flight = this.#flying.find(({ first, jobs }) => frame.seq >= first && frame.seq < first + jobs.length);
    const at = frame.seq - (flight?.first ?? 0);
    const job = flight?.jobs[at];
    // Nobody waits for it any longer: it has timed out.
    if (!flight || !job) return;
    if (frame.type === NLMSG_ERROR) this.#conclude(flight, at, job, readAck(frame));
    else if (frame.type === NLMSG_DONE) this.#conclude(flight, at, job, readDone(frame));
    else {
      job.parts.push(frame);
      // A table of a hundred thousand entries takes its time, and to give it up would leave the socket busy with it.
      flight.timer.refresh();
    }
  }

  #conclude(flight: Flight, at: number, job: Job, { errno, message }: Verdict): void {
    flight.jobs[at] = undefined;
    // What was sent before the last in the same datagram, and had no error, is done.
    if (at === flight.jobs.length - 1) this.#end(flight, ({ settle, parts }) => settle.resolve(parts));
    if (errno === 0) job.settle.resolve(job.parts);
    else job.settle.reject(failure(job.request, errorCode(errno), message));
    this.#pump();
  }

  /** @param settle for each that has not been answered */
  #end(flight: Flight, settle: (job: Job) => void): void {
    const at = this.#flying.indexOf(flight);
    if (at < 0) return;
    this.#flying.splice(at, 1);
    clearTimeout(flight.timer);
    for (const job of flight.jobs) if (job) settle(job);
  }

  /** The socket is of no more use: whoever waits for an answer hears so, the next request opens another one. */
  #drop(code: string, detail: string): void {
    if (this.#socket) closeNetlinkSocket(this.#socket);
    this.#socket = undefined;
    const refuse = ({ settle, request }: Job) => settle.reject(failure(request, code, detail));
    for (const flight of [...this.#flying]) this.#end(flight, refuse);
    if (this.#closed) for (const job of this.#waiting.splice(0)) refuse(job);
    else this.#pump();
  }
}

const subject = ({ operation, device }: Request) => (device === undefined ? operation : `${operation} ${device}`);

function failure({ operation, device }: Request, code: string, detail: string | undefined): KernelError {
  return new KernelError({ operation, device, code, detail });
}

const codeOf = (error: unknown) => systemCode(error) ?? "EIO";
