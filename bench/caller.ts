// A caller as lean as can be, so that it is the plugin that is measured: one keep-alive connection, one call at a time.
import { connect, type Socket } from "node:net";

const END_OF_HEAD = Buffer.from("\r\n\r\n");

export class Caller implements Disposable {
  readonly #socket: Socket;
  #received: Buffer = Buffer.alloc(0);
  #done: (() => void) | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => this.#take(chunk));
  }

  static open(path: string): Promise<Caller> {
    return new Promise((resolve, reject) => {
      const socket = connect(path, () => {
        socket.off("error", reject);
        resolve(new Caller(socket));
      });
      socket.once("error", reject);
    });
  }

  /** @returns how long the call took, in milliseconds */
  async call(verb: string, body: string): Promise<number> {
    const started = performance.now();
    const answered = new Promise<void>((resolve) => (this.#done = resolve));
    this.#socket.write(
      `POST /${verb} HTTP/1.1\r\nHost: plugin.moby.localhost\r\nContent-Length: ${String(Buffer.byteLength(body))}\r\n\r\n${body}`,
    );
    await answered;
    return performance.now() - started;
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }

  #take(chunk: Buffer): void {
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
    const head = this.#received.indexOf(END_OF_HEAD);
    if (head < 0) return;
    const text = this.#received.toString("latin1", 0, head);
    const length = /content-length: (\d+)/i.exec(text)?.[1];
    if (length === undefined || !text.startsWith("HTTP/1.1 200")) {
      throw new Error(`the plugin answered: ${this.#received.toString()}`);
    }
    if (this.#received.length < head + END_OF_HEAD.length + Number(length)) return;
    this.#received = Buffer.alloc(0);
    this.#done?.();
  }
}
