// How the machines of one run wait for each other: each says what it has reached, and the others hear it over the wire.
import { createServer, get, type Server } from "node:http";
import { eventually } from "../lab/wait.ts";
import { number, STEP } from "./machine.ts";

const PORT = 7946 + 1000; // clear of swarm's own ports

/** The address of a machine on the wire between them; guest/prepare.sh gives it. */
export function addressOf(machine: number): string {
  return `198.51.100.${10 + machine}`;
}

export class Peers implements AsyncDisposable {
  readonly #said = new Map<string, string>();
  readonly #heard = new Set<string>();
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => {
      const name = decodeURIComponent((request.url ?? "").slice(1));
      const word = this.#said.get(name);
      if (word !== undefined) this.#heard.add(name);
      response.writeHead(word === undefined ? 404 : 200, { connection: "close" }).end(word);
    });
  }

  static async open(): Promise<Peers> {
    const peers = new Peers();
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    peers.#server.once("error", reject).listen(PORT, addressOf(number), () => resolve(undefined));
    await promise;
    return peers;
  }

  /** Says something under a name, once and for all. */
  tell(name: string, word = ""): void {
    this.#said.set(name, word);
  }

  /** What another machine says under a name, as soon as it does. */
  hear(machine: number, name: string): Promise<string> {
    return eventually(`machine ${machine} says ${name}`, () => fetchWord(machine, name), {
      within: 2 * STEP,
      every: 1000,
    });
  }

  /** Waits until both have come this far. */
  async meet(other: number, place: string): Promise<void> {
    this.tell(place);
    await this.hear(other, place);
  }

  /** As `meet`, at the end: nobody goes, and takes the wire away, before the other knows that both are there. */
  async part(other: number): Promise<void> {
    await this.meet(other, "end");
    await eventually("the other machine knows", () => Promise.resolve(this.#heard.has("end")), { within: STEP });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.#server.close(() => resolve(undefined));
    await promise;
  }
}

function fetchWord(machine: number, name: string): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const request = get(
    { host: addressOf(machine), port: PORT, path: `/${encodeURIComponent(name)}`, agent: false, timeout: 5000 },
    (answer) => {
      let word = "";
      answer.setEncoding("utf8").on("data", (text: string) => (word += text));
      answer.once("end", () => resolve(answer.statusCode === 200 ? word : undefined));
    },
  );
  request.once("timeout", () => request.destroy());
  request.once("error", () => resolve(undefined));
  return promise;
}
