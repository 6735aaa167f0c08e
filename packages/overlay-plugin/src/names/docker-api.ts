// Docker's API over its socket, as far as names need it.
import { request, type IncomingMessage } from "node:http";

/** A container that starts or stops keeps Docker from answering for as long. */
const ANSWER_MS = 60_000;

export class DockerApi {
  readonly #socketPath: string;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  /** @returns what the answer's JSON says @throws Error when Docker does not answer, or refuses */
  async get(path: string, signal: AbortSignal): Promise<unknown> {
    signal.throwIfAborted();
    // Not `AbortSignal.any`: of each that it makes, one that lives long keeps something.
    const own = new AbortController();
    const end = () => own.abort(signal.reason);
    const timer = setTimeout(() => own.abort(new Error(`Docker does not answer to ${path}`)), ANSWER_MS);
    signal.addEventListener("abort", end);
    try {
      const answer = await this.#ask(path, own.signal);
      let text = "";
      answer.setEncoding("utf8");
      for await (const part of answer) text += part as string;
      return JSON.parse(text);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
    }
  }

  /** Lines of JSON, for as long as Docker sends any; ends with the connection. @throws as `get` does */
  async stream(path: string, signal: AbortSignal): Promise<AsyncIterable<unknown>> {
    const answer = await this.#ask(path, signal);
    return (async function* () {
      let rest = "";
      answer.setEncoding("utf8");
      for await (const part of answer) {
        const lines = `${rest}${part as string}`.split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) if (line.trim() !== "") yield JSON.parse(line);
      }
    })();
  }

  #ask(path: string, signal: AbortSignal): Promise<IncomingMessage> {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const asked = request({ socketPath: this.#socketPath, path, signal }, (answer) => {
      if (answer.statusCode === 200) {
        resolve(answer);
        return;
      }
      answer.resume();
      reject(new Error(`Docker answers ${answer.statusCode ?? 0} to ${path}`));
    });
    asked.on("error", reject);
    asked.end();
    return promise;
  }
}
