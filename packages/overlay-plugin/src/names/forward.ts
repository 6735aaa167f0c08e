// Asks the host's own servers what the zone does not know, one after the other.
import { randomInt } from "node:crypto";
import { createSocket } from "node:dgram";
import { connect } from "node:net";
import { DnsStream, framed } from "./dns-stream.ts";

/** Longer than a server's own retry, shorter than what dockerd gives us (4 s). */
const ATTEMPT_MS = 1500;
/** More at once are refused: every query has a socket of its own, so that its port is hard to guess (RFC 5452). */
const MOST_AT_ONCE = 256;
/** So that one container that asks for what nobody answers leaves room for the others. */
const MOST_OF_ONE = 32;
/** After these the next server may know better. */
const SERVFAIL = 2;
const REFUSED = 5;

export class Forwarder {
  readonly #port: number;
  #running = 0;
  readonly #runningOf = new Map<string, number>();

  /** @param port of the servers */
  constructor(port = 53) {
    this.#port = port;
  }

  /**
   * @param asker whoever may have so many questions under way
   * @returns the first server's answer that is one, bearing the query's number; undefined when there is none
   */
  async ask(
    query: Buffer,
    servers: readonly string[],
    transport: "udp" | "tcp",
    asker: string,
  ): Promise<Buffer | undefined> {
    const own = this.#runningOf.get(asker) ?? 0;
    if (this.#running >= MOST_AT_ONCE || own >= MOST_OF_ONE) return undefined;
    this.#running += 1;
    this.#runningOf.set(asker, own + 1);
    try {
      let refused: Buffer | undefined;
      for (const server of servers) {
        const answer = await this.#attempt(query, server, transport);
        if (!answer) continue;
        answer.writeUInt16BE(query.readUInt16BE(0), 0);
        const code = answer.readUInt8(3) & 0xf;
        if (code !== SERVFAIL && code !== REFUSED) return answer;
        refused = answer;
      }
      return refused;
    } finally {
      this.#running -= 1;
      const left = (this.#runningOf.get(asker) ?? 1) - 1;
      if (left > 0) this.#runningOf.set(asker, left);
      else this.#runningOf.delete(asker);
    }
  }

  async #attempt(query: Buffer, server: string, transport: "udp" | "tcp"): Promise<Buffer | undefined> {
    const question = Buffer.from(query);
    const id = randomInt(0x1_0000);
    question.writeUInt16BE(id, 0);
    const isAnswer = (bytes: Buffer) =>
      bytes.length >= 12 && bytes.readUInt16BE(0) === id && (bytes.readUInt16BE(2) & 0x8000) !== 0;
    return transport === "udp" ? this.#byUdp(question, server, isAnswer) : this.#byTcp(question, server, isAnswer);
  }

  #byUdp(question: Buffer, server: string, isAnswer: (bytes: Buffer) => boolean): Promise<Buffer | undefined> {
    const { promise, resolve } = Promise.withResolvers<Buffer | undefined>();
    // Connected, so that the kernel passes on what the server itself sends, and says at once that nobody listens.
    const socket = createSocket(server.includes(":") ? "udp6" : "udp4");
    const timer = setTimeout(() => resolve(undefined), ATTEMPT_MS);
    socket.on("error", () => resolve(undefined));
    socket.on("message", (bytes) => {
      if (isAnswer(bytes)) resolve(Buffer.from(bytes));
    });
    socket.connect(this.#port, server, () => socket.send(question));
    return promise.finally(() => {
      clearTimeout(timer);
      socket.close();
    });
  }

  #byTcp(question: Buffer, server: string, isAnswer: (bytes: Buffer) => boolean): Promise<Buffer | undefined> {
    const { promise, resolve } = Promise.withResolvers<Buffer | undefined>();
    const socket = connect({ host: server, port: this.#port });
    const stream = new DnsStream((bytes) => resolve(isAnswer(bytes) ? Buffer.from(bytes) : undefined));
    socket.setTimeout(ATTEMPT_MS, () => resolve(undefined));
    socket.on("error", () => resolve(undefined));
    socket.on("close", () => resolve(undefined));
    socket.on("data", (bytes) => stream.take(bytes));
    socket.write(framed(question));
    return promise.finally(() => socket.destroy());
  }
}
