// A driver served on a socket of its own, with a hand on its life: restart it, kill it, kill it in the middle of a step.
import assert from "node:assert/strict";
import type { Server } from "node:http";
import type { Socket } from "node:net";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Listener } from "../../listen/listener.ts";
import { unix } from "../../listen/unix.ts";
import { serve } from "../../serve.ts";
import type { PluginServer } from "../../serve.ts";
import { PluginClient, PluginStatusError } from "../dockerd/plugin-client.ts";
import type { CrashPoints, Host, HostFactory, Life } from "./subject.ts";

/** Thrown at the step at which a process dies. */
class Crash extends Error {
  constructor(step: string) {
    super(`killed at "${step}"`);
    this.name = "Crash";
  }
}

/** The steps of one life; the process dies when one is reached that was armed. */
class Steps implements CrashPoints {
  readonly #onDeath: () => void;
  #armed: number | undefined;
  #dead: string | undefined;
  /** Steps since `arm` or `count`, in order. */
  reached: string[] = [];

  constructor(onDeath: () => void) {
    this.#onDeath = onDeath;
  }

  get diedAt(): string | undefined {
    return this.#dead;
  }

  /** @param at the process dies at the step of this number, counted from 0; undefined: only count */
  arm(at?: number): void {
    this.#armed = at;
    this.reached = [];
  }

  reach(step: string): void {
    if (this.#dead !== undefined) throw new Crash(this.#dead);
    const number = this.reached.push(step) - 1;
    if (number !== this.#armed) return;
    this.kill(step);
    throw new Crash(step);
  }

  kill(step: string): void {
    this.#dead ??= step;
    this.#onDeath();
  }
}

/** What a call came to, as dockerd sees it. `error` is empty for a success. */
export interface Outcome {
  readonly reply: Readonly<Record<string, unknown>>;
  readonly error: string;
  readonly status?: number;
}

export class Rig implements AsyncDisposable {
  readonly host: Host;
  readonly socket: string;
  readonly #folder: string;
  readonly #client: PluginClient;
  #life!: Life;
  #server!: PluginServer;
  #steps!: Steps;
  readonly #baseline: readonly string[];

  private constructor(host: Host, folder: string, baseline: readonly string[]) {
    this.host = host;
    this.#folder = folder;
    this.socket = join(folder, "driver.sock");
    this.#baseline = baseline;
    this.#client = new PluginClient({ socket: this.socket, host: "plugin.moby.localhost", timeScale: 0.0001 });
  }

  static async open(factory: HostFactory): Promise<Rig> {
    const host = await factory();
    const folder = await mkdtemp(join(tmpdir(), "conformance-"));
    // What a driver makes at its start, before any call, is not a leak.
    const first = new Rig(host, folder, []);
    await first.#start();
    const rig = new Rig(host, folder, await host.inventory());
    await first.#stop();
    await rig.#start();
    return rig;
  }

  /** The steps that the calls since `arm` have reached. */
  get steps(): readonly string[] {
    return this.#steps.reached;
  }

  /** The step at which the process died, if it did. */
  get diedAt(): string | undefined {
    return this.#steps.diedAt;
  }

  arm(at?: number): void {
    this.#steps.arm(at);
  }

  /** One call, body and all, as dockerd makes it. A server that is not there makes it fail, after the retries. */
  async call(verb: string, body?: unknown): Promise<Outcome> {
    try {
      const reply = await this.#client.call(verb, body);
      const error = reply.Err ?? reply.Error ?? "";
      return { reply, error: typeof error === "string" ? error : JSON.stringify(error), status: 200 };
    } catch (error) {
      const status = error instanceof PluginStatusError ? { status: error.status } : {};
      return { reply: {}, error: error instanceof Error ? error.message : String(error), ...status };
    }
  }

  /** A call that must succeed. */
  async must(verb: string, body?: unknown): Promise<Readonly<Record<string, unknown>>> {
    const { reply, error } = await this.call(verb, body);
    assert.equal(error, "", `${verb} must succeed, but answered: ${error}`);
    return reply;
  }

  /** The orderly end of the process, and its next life. */
  async restart(): Promise<void> {
    await this.#stop();
    await this.#start();
  }

  /** The next life, after `kill`. */
  async start(): Promise<void> {
    await this.#start();
  }

  /**
   * The next life, which ends at a step of its own start.
   * @returns the step, or undefined when the start has fewer steps and went well
   */
  async startAndDieAt(at: number): Promise<string | undefined> {
    try {
      await this.#start(at);
    } catch (error) {
      if (this.#steps.diedAt === undefined) throw error;
    }
    return this.#steps.diedAt;
  }

  /** `kill -9`, and the next life. Also what follows a crash at an armed step. */
  async killAndStart(): Promise<void> {
    await this.kill();
    await this.#start();
  }

  async kill(): Promise<void> {
    if (this.diedAt === undefined) this.#steps.kill("between two calls");
    await this.#life.kill();
  }

  /** Nothing is left that was not there before the first call. */
  async mustLeaveNothing(when: string): Promise<void> {
    const before = [...this.#baseline];
    const left = (await this.host.inventory()).filter((item) => {
      const known = before.indexOf(item);
      if (known >= 0) before.splice(known, 1);
      return known < 0;
    });
    assert.deepEqual(left, [], `${when}, this is left: ${left.join("; ")}`);
    assert.deepEqual(
      before,
      [],
      `${when}, this is missing, which was there before the first call: ${before.join("; ")}`,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.close();
    await this.#stop();
    await this.host.dispose?.();
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #start(dieAt?: number): Promise<void> {
    const connections = new Set<Socket>();
    let http: Server | undefined;
    const steps = new Steps(() => {
      for (const connection of connections) connection.destroy();
      http?.close();
    });
    const isDead = (): boolean => steps.diedAt !== undefined;
    this.#steps = steps;
    steps.arm(dieAt);
    const life = await this.host.start(steps);
    this.#life = life;
    steps.arm();
    if (isDead()) {
      await life.kill();
      throw new Crash(steps.diedAt ?? "");
    }
    const socket = unix(this.socket);
    const listen: Listener = {
      open: async (server) => {
        http = server;
        server.on("connection", (connection) => {
          connections.add(connection);
          connection.once("close", () => connections.delete(connection));
        });
        const opened = await socket.open(server);
        // A process that was killed leaves its socket behind, for the next life to find.
        return { ...opened, release: () => (isDead() ? Promise.resolve() : opened.release()) };
      },
    };
    const { network, ipam, locks } = life;
    this.#server = await serve({ listen, network, ipam, ...(locks && { locks }) });
    this.#server.ready();
  }

  async #stop(): Promise<void> {
    if (this.#steps.diedAt !== undefined) return;
    await this.#server.close();
    await this.#life.close();
  }
}
