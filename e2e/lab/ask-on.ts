// `node ask-on.ts URL SECONDS PAUSE`: asks a web server again and again, on a new connection each time, and writes a line of JSON
// for each request, until it is told to end. PAUSE is in milliseconds.
import { get } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

export interface Request {
  /** Milliseconds since 1970. */
  readonly began: number;
  readonly ended: number;
  /** What the server said. */
  readonly said?: string;
  /** Why there was no answer. */
  readonly failed?: string;
}

const [url = "", seconds = "", pause = ""] = process.argv.slice(2);

async function ask(): Promise<Pick<Request, "said" | "failed">> {
  const { promise, resolve } = Promise.withResolvers<Pick<Request, "said" | "failed">>();
  const request = get(url, { agent: false, signal: AbortSignal.timeout(Number(seconds) * 1000) }, (response) => {
    let text = "";
    response.setEncoding("utf8");
    response.on("data", (more: string) => (text += more));
    response.on("error", (error) => resolve({ failed: error.message }));
    response.on("end", () => resolve({ said: text.trim() }));
  });
  request.on("error", (error) => resolve({ failed: error.message }));
  return promise;
}

for (;;) {
  const began = Date.now();
  const answer = await ask();
  process.stdout.write(`${JSON.stringify({ began, ended: Date.now(), ...answer } satisfies Request)}\n`);
  await sleep(Number(pause));
}
