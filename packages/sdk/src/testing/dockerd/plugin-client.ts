// How dockerd talks to a plugin: one HTTP client that keeps its connections, its retries and its reading of errors
// (moby pkg/plugins/client.go and Go's net/http transport underneath it).
import { Agent, request } from "node:http";
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** One attempt at a call, as it was seen on the wire. */
export interface Exchange {
  readonly verb: string;
  /** What the verb was called with, whether or not this attempt still carried it. */
  readonly body: unknown;
  /** 1 for the first attempt. */
  readonly attempt: number;
  /** True when this attempt went out with an empty body in place of `body`: the retry that lost it. */
  readonly lostBody: boolean;
  /** Unset when no answer came. */
  readonly status?: number;
  readonly reply?: unknown;
  readonly error?: string;
}

/** The plugin answered, with a failure. The message is the one dockerd makes of it. */
export class PluginStatusError extends Error {
  readonly status: number;

  constructor(verb: string, status: number, text: string) {
    super(`${verb}: ${text}`);
    this.name = "PluginStatusError";
    this.status = status;
  }
}

/** No answer came, and dockerd has given up repeating the call. */
export class PluginUnreachableError extends Error {
  constructor(verb: string, cause: Error) {
    super(`Post "http://plugin.moby.localhost/${verb}": ${cause.message}`, { cause });
    this.name = "PluginUnreachableError";
  }
}

export interface PluginClientOptions {
  readonly socket: string;
  /** The `Host` header, empty on 20.10. */
  readonly host: string;
  /** How long one second of dockerd's back-off takes, in seconds. */
  readonly timeScale: number;
  readonly onExchange?: (exchange: Exchange) => void;
}

/** dockerd gives up when the next pause would end later than this after the first attempt, in ms. */
const PATIENCE_MS = 30_000;
/** Go's DefaultMaxIdleConnsPerHost, which moby leaves alone. */
const IDLE_CONNECTIONS = 2;

/** Keeps connections as Go does: for ever, and deaf to a server's `Keep-Alive: timeout=` hint. */
class GoTransport extends Agent {
  constructor() {
    super({ keepAlive: true, maxSockets: Infinity, maxFreeSockets: IDLE_CONNECTIONS, scheduling: "lifo" });
  }

  // Node's own method leaves a connection unused when the server's hint says that it would soon be closed.
  override keepSocketAlive(socket: Socket): boolean {
    socket.unref();
    return true;
  }
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

/** A failed attempt. `spent`: the request had begun to go out, so Go has consumed the body it was given. */
class AttemptError extends Error {
  readonly spent: boolean;
  /** Go repeats the request itself, body included, when a kept connection turned out dead before the first byte. */
  readonly repeatable: boolean;

  constructor(cause: NodeJS.ErrnoException, reused: boolean) {
    super(cause.message, { cause });
    this.spent = cause.syscall !== "connect";
    this.repeatable = reused && cause.code === "EPIPE";
  }
}

/** Go's encoding of a value: map keys in order, `<`, `>` and `&` escaped, a newline at the end. */
function encodeBody(body: unknown): string {
  const escaped = JSON.stringify(body).replaceAll(/[<>&]/g, (char) => `\\u00${char.charCodeAt(0).toString(16)}`);
  return `${escaped}\n`;
}

export class PluginClient {
  readonly #options: PluginClientOptions;
  readonly #transport = new GoTransport();

  constructor(options: PluginClientOptions) {
    this.#options = options;
  }

  /**
   * Calls a verb such as `NetworkDriver.Join`. Without `body` the request has none.
   * @throws PluginStatusError when the answer is not a 200, PluginUnreachableError after the last attempt,
   *   SyntaxError when the answer is not a JSON object
   */
  async call(verb: string, body?: unknown): Promise<Record<string, unknown>> {
    const answer = await this.#callWithRetry(verb, body);
    if (answer.status !== 200) throw new PluginStatusError(verb, answer.status, errorText(answer.text));
    return parseReply(answer.text);
  }

  /** Closes the kept connections, as dockerd's exit does. */
  close(): void {
    this.#transport.destroy();
  }

  async #callWithRetry(verb: string, body: unknown): Promise<Answer> {
    const full = body === undefined ? "" : encodeBody(body);
    const began = performance.now();
    let unsent = full;
    let pausedFor = 0;
    let pausedReally = 0;
    for (let attempt = 1; ; attempt += 1) {
      const report = (rest: Partial<Exchange>): void =>
        this.#options.onExchange?.({ verb, body, attempt, lostBody: unsent !== full, ...rest });
      try {
        const answer = await this.#attempt(verb, unsent);
        report({ status: answer.status, reply: tryParse(answer.text) });
        return answer;
      } catch (error) {
        if (!(error instanceof AttemptError)) throw error;
        report({ error: error.message });
        // The reader that held the body is at its end now, and nobody rewinds it: moby 39331, still open.
        if (error.spent) unsent = "";
        const pause = 1000 * 2 ** (attempt - 1);
        const elapsed = performance.now() - began - pausedReally + pausedFor;
        if (pause + elapsed >= PATIENCE_MS) throw new PluginUnreachableError(verb, error);
        const before = performance.now();
        await sleep(pause * this.#options.timeScale);
        pausedFor += pause;
        pausedReally += performance.now() - before;
      }
    }
  }

  async #attempt(verb: string, body: string): Promise<Answer> {
    for (;;) {
      try {
        return await this.#send(verb, body);
      } catch (error) {
        if (error instanceof AttemptError && error.repeatable) continue;
        throw error;
      }
    }
  }

  #send(verb: string, body: string): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const outgoing = request({
        agent: this.#transport,
        socketPath: this.#options.socket,
        method: "POST",
        path: `/${verb}`,
        setHost: false,
        headers: {
          Host: this.#options.host,
          "User-Agent": "Go-http-client/1.1",
          "Content-Length": Buffer.byteLength(body),
          Accept: "application/vnd.docker.plugins.v1.2+json",
        },
      });
      outgoing.removeHeader("Connection");
      const fail = (error: Error): void => reject(new AttemptError(error, outgoing.reusedSocket));
      outgoing.on("error", fail);
      outgoing.on("response", (incoming: IncomingMessage) => {
        let text = "";
        incoming.setEncoding("utf8");
        incoming.on("data", (chunk: string) => (text += chunk));
        incoming.on("error", fail);
        incoming.on("end", () => resolve({ status: incoming.statusCode ?? 0, text }));
      });
      outgoing.end(body);
    });
  }
}

/** A field of a reply; Go matches names without regard to case. */
export function field(reply: Readonly<Record<string, unknown>>, name: string): unknown {
  const wanted = name.toLowerCase();
  const key = Object.keys(reply).find((candidate) => candidate.toLowerCase() === wanted);
  return key === undefined ? undefined : reply[key];
}

/** A string field of a reply, empty when it is absent or null, as Go leaves it. */
export function textField(reply: Readonly<Record<string, unknown>>, name: string): string {
  const value = field(reply, name) ?? "";
  if (typeof value !== "string") {
    throw new TypeError(`json: cannot unmarshal ${typeof value} into Go struct field .${name} of type string`);
  }
  return value;
}

/** Of an answer that is not a 200 dockerd reads `Err`, for both vocabularies, and otherwise shows it raw. */
function errorText(text: string): string {
  const parsed = tryParse(text);
  const reason = isObject(parsed) ? field(parsed, "Err") : undefined;
  return typeof reason === "string" && reason !== "" ? reason : text;
}

function parseReply(text: string): Record<string, unknown> {
  if (text.trim() === "") throw new SyntaxError("EOF");
  const parsed: unknown = JSON.parse(text);
  if (parsed === null) return {};
  if (!isObject(parsed)) throw new SyntaxError(`json: cannot unmarshal ${text.trim()} into a Go struct`);
  return parsed;
}

function tryParse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
