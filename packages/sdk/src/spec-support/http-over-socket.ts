// A client for the specs that writes HTTP by hand: only so can it cut bodies short or hang up at the wrong moment.
import { connect, type Socket } from "node:net";

export interface RawAnswer {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly text: string;
  /** The body as JSON. */
  readonly json: unknown;
}

export class RawConnection implements Disposable {
  readonly socket: Socket;
  readonly closed: Promise<void>;
  #received = "";
  #changed = Promise.withResolvers<undefined>();

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.setEncoding("utf8");
    socket.on("data", (chunk: string) => {
      this.#received += chunk;
      this.#wake();
    });
    socket.on("error", () => undefined); // a reset shows as `closed`
    this.closed = new Promise((resolve) => {
      socket.on("close", () => {
        resolve();
        this.#wake();
      });
    });
  }

  static async open(path: string): Promise<RawConnection> {
    const socket = connect(path);
    await new Promise<void>((resolve, reject) => {
      socket.once("connect", resolve);
      socket.once("error", reject);
    });
    return new RawConnection(socket);
  }

  write(text: string): void {
    this.socket.write(text);
  }

  /** A request as dockerd 20.10 writes it: empty Host, no Content-Type. */
  send(verb: string, body?: unknown): void {
    const text = body === undefined ? "" : typeof body === "string" ? body : JSON.stringify(body);
    this.write(requestHead(verb, Buffer.byteLength(text)) + text);
  }

  /** The next answer on this connection. */
  async answer(): Promise<RawAnswer> {
    for (;;) {
      const answer = this.#parse();
      if (answer !== undefined) return answer;
      if (this.socket.closed) throw new Error("the server closed the connection without an answer");
      await this.#changed.promise;
    }
  }

  async call(verb: string, body?: unknown): Promise<RawAnswer> {
    this.send(verb, body);
    return this.answer();
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }

  #wake(): void {
    this.#changed.resolve(undefined);
    this.#changed = Promise.withResolvers();
  }

  #parse(): RawAnswer | undefined {
    const end = this.#received.indexOf("\r\n\r\n");
    if (end < 0) return undefined;
    const [statusLine = "", ...lines] = this.#received.slice(0, end).split("\r\n");
    const headers = new Map(
      lines.map((line) => [line.replace(/:.*/, "").toLowerCase(), line.replace(/^[^:]*: */, "")]),
    );
    const length = Number(headers.get("content-length"));
    const rest = Buffer.from(this.#received.slice(end + 4));
    if (Number.isNaN(length)) throw new Error(`an answer without Content-Length: ${this.#received}`);
    if (rest.length < length) return undefined;
    this.#received = rest.subarray(length).toString();
    const text = rest.subarray(0, length).toString();
    return { status: Number(statusLine.split(" ")[1]), headers, text, json: JSON.parse(text) };
  }
}

export function requestHead(verb: string, contentLength: number): string {
  return [
    `POST /${verb} HTTP/1.1`,
    "Host: ",
    "User-Agent: Go-http-client/1.1",
    `Content-Length: ${contentLength}`,
    "Accept: application/vnd.docker.plugins.v1.2+json",
    "\r\n",
  ].join("\r\n");
}

/** One call on a connection of its own. */
export async function call(path: string, verb: string, body?: unknown): Promise<RawAnswer> {
  using connection = await RawConnection.open(path);
  return await connection.call(verb, body);
}
