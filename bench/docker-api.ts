// dockerd's API over its socket, with the time that each call took. Without the command-line client, which costs the same
// whatever the driver is.
import { Agent, request } from "node:http";

export class DockerApi implements Disposable {
  readonly #agent = new Agent({ keepAlive: true });
  readonly #socketPath: string;

  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  /** @returns what dockerd answered, and the milliseconds until all of it was there. */
  async call(method: string, path: string, body?: unknown): Promise<{ readonly ms: number; readonly text: string }> {
    const { promise, resolve, reject } = Promise.withResolvers<{ code: number; text: string }>();
    const headers = { "content-type": "application/json" };
    const started = performance.now();
    const call = request({ socketPath: this.#socketPath, agent: this.#agent, method, path, headers }, (answer) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
      answer.once("end", () => resolve({ code: answer.statusCode ?? 0, text })).once("error", reject);
    });
    call.once("error", reject).end(body === undefined ? undefined : JSON.stringify(body));
    const { code, text } = await promise;
    const ms = performance.now() - started;
    if (code >= 400) throw new Error(`${method} ${path}: dockerd answered ${code}: ${text}`);
    return { ms, text };
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }
}
