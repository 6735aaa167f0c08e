// The other hosts of a cluster, as far as etcd holds them: written and changed by a program, over etcd's own HTTP gateway.
import { Agent, request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

const ROOT = "/portolan/overlay/";
/** Operations that etcd takes in one transaction: 128. */
const BATCH = 100;

export interface Changes {
  /** Told when etcd has answered that a change is committed: by then, or a little later, the link has the station there. */
  committed(mac: string, via: string): void;
}

export class Others {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 64 });
  readonly #url: string;
  readonly #network: string;
  readonly #hosts: number;
  readonly #each: number;
  /** Changes made. */
  changes = 0;

  constructor(store: string, network: string, hosts: number, each: number) {
    this.#url = store.replace("etcd://", "http://");
    this.#network = network;
    this.#hosts = hosts;
    this.#each = each;
  }

  /** Containers on all hosts together. */
  get count(): number {
    return this.#hosts * this.#each;
  }

  /** All hosts, alive, and all containers, in any order. */
  async write(): Promise<void> {
    const puts: [key: string, value: unknown][] = [];
    for (let host = 0; host < this.#hosts; host += 1) {
      puts.push([`hosts/${nameOf(host)}`, { id: nameOf(host), vtep: vtepOf(host) }]);
      puts.push([`alive/${nameOf(host)}`, { id: nameOf(host) }]);
    }
    for (let number = 0; number < this.count; number += 1) puts.push(this.#container(number, number % this.#hosts));
    const batches: (typeof puts)[] = [];
    for (let from = 0; from < puts.length; from += BATCH) batches.push(puts.slice(from, from + BATCH));
    // Some at once, as many as etcd has use for.
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        for (let batch = batches.pop(); batch; batch = batches.pop()) await this.#put(batch);
      }),
    );
  }

  /** Containers move from host to host, one a change. */
  async change(perSecond: number, seconds: number, watch: Changes): Promise<void> {
    const pending: Promise<void>[] = [];
    const started = performance.now();
    for (let change = 0; change < perSecond * seconds; change += 1) {
      const due = started + (change * 1000) / perSecond;
      if (due - performance.now() > 1) await sleep(due - performance.now());
      // None twice within a minute and a half, so that each has its own moment.
      const number = (change * 7919) % this.count;
      const host = (number + 1 + (change % (this.#hosts - 1))) % this.#hosts;
      const told = () => watch.committed(macOf(number), vtepOf(host));
      pending.push(this.#put([this.#container(number, host)]).then(told));
      this.changes += 1;
    }
    await Promise.all(pending);
    this.#agent.destroy();
  }

  #container(number: number, host: number): [string, unknown] {
    const address = `10.${(number >> 16) + 1}.${(number >> 8) & 255}.${number & 255}`;
    const value = { host: nameOf(host), endpoint: number.toString(16).padStart(12, "0"), mac: macOf(number) };
    return [`networks/${this.#network}/endpoints/${address}`, value];
  }

  #put(puts: readonly (readonly [string, unknown])[]): Promise<void> {
    const success = puts.map(([key, value]) => ({
      requestPut: { key: btoa(ROOT + key), value: btoa(JSON.stringify(value)) },
    }));
    return new Promise((resolve, reject) => {
      const asking = request(`${this.#url}/v3/kv/txn`, { method: "POST", agent: this.#agent }, (answer) => {
        answer.resume();
        answer.once("end", () =>
          answer.statusCode === 200 ? resolve() : reject(new Error(`etcd says ${String(answer.statusCode)}`)),
        );
      });
      asking.once("error", reject);
      asking.end(JSON.stringify({ success }));
    });
  }
}

const nameOf = (host: number) => `host${String(host).padStart(4, "0")}`;
const vtepOf = (host: number) => `192.0.${10 + (host >> 8)}.${host & 255}`;
const macOf = (number: number) =>
  `02:42:00:${[number >> 16, (number >> 8) & 255, number & 255].map((byte) => byte.toString(16).padStart(2, "0")).join(":")}`;
