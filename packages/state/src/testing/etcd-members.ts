// Real etcd servers on loopback, each of which can be killed, frozen and started again; and wires to them that can be cut.
// eslint-disable-next-line no-restricted-imports -- a test starts the servers it needs
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export class EtcdMembers implements AsyncDisposable {
  readonly #home = mkdtempSync(join(tmpdir(), "portolan-etcd-"));
  readonly #count: number;
  readonly #flags: readonly string[];
  readonly #scheme: "http" | "https";
  readonly #running = new Map<number, ChildProcess>();

  private constructor(count: number, scheme: "http" | "https", flags: readonly string[]) {
    this.#count = count;
    this.#scheme = scheme;
    this.#flags = flags;
  }

  static async start(
    count: number,
    scheme: "http" | "https" = "http",
    flags: readonly string[] = [],
  ): Promise<EtcdMembers> {
    const members = new EtcdMembers(count, scheme, flags);
    await Promise.all(members.#all.map((member) => members.run(member)));
    return members;
  }

  get #all(): number[] {
    return Array.from({ length: this.#count }, (_, member) => member);
  }

  port(member: number): number {
    return 23790 + member * 10;
  }

  get ports(): number[] {
    return this.#all.map((member) => this.port(member));
  }

  /** Starts a member, for the first time or again on what it had written. */
  async run(member: number): Promise<void> {
    const peer = (other: number) => `http://127.0.0.1:${this.port(other) + 1}`;
    const client = `${this.#scheme}://127.0.0.1:${this.port(member)}`;
    const flags = [
      ...["--name", `m${member}`, "--data-dir", join(this.#home, `m${member}`)],
      ...["--listen-client-urls", client, "--advertise-client-urls", client],
      ...["--listen-peer-urls", peer(member), "--initial-advertise-peer-urls", peer(member)],
      ...["--initial-cluster", this.#all.map((other) => `m${other}=${peer(other)}`).join(",")],
      ...["--logger", "zap", "--log-level", "fatal", ...this.#flags],
    ];
    this.#running.set(member, spawn("etcd", flags, { stdio: "ignore" }));
    while (!(await accepts(this.port(member)))) await sleep(50);
  }

  /** Stops a member where it is, all of it: the signal reaches its threads one by one, and one may still answer. */
  async freeze(member: number): Promise<void> {
    const child = this.#running.get(member);
    child?.kill("SIGSTOP");
    while (threadStates(child?.pid ?? 0).some((state) => state !== "T")) await sleep(5);
  }

  thaw(member: number): void {
    this.#running.get(member)?.kill("SIGCONT");
  }

  async kill(member: number): Promise<void> {
    const child = this.#running.get(member);
    if (!child) return;
    this.#running.delete(member);
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }

  /** Copies a member's disk while it is stopped. @returns what puts the copy back and starts the member on it */
  async copy(member: number): Promise<() => Promise<void>> {
    const disk = join(this.#home, `m${member}`);
    await this.kill(member);
    cpSync(disk, `${disk}.copy`, { recursive: true });
    await this.run(member);
    return async () => {
      await this.kill(member);
      rmSync(disk, { recursive: true });
      cpSync(`${disk}.copy`, disk, { recursive: true });
      await this.run(member);
    };
  }

  /** The member that leads, once there is one that most of them follow. */
  async leader(): Promise<number> {
    for (;;) {
      for (const member of this.#running.keys()) {
        const status = await fetch(`http://127.0.0.1:${this.port(member)}/v3/maintenance/status`, {
          method: "POST",
          body: "{}",
          signal: AbortSignal.timeout(1000),
        })
          .then((answer) => answer.json() as Promise<{ leader?: string; header?: { member_id?: string } }>)
          .catch(() => undefined);
        if (status?.leader !== undefined && status.leader === status.header?.member_id) return member;
      }
      await sleep(100);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#all.map((member) => this.kill(member)));
    rmSync(this.#home, { recursive: true, force: true });
  }
}

/** One host's way to the members: relays that can be cut, as a wire is: nothing is refused, nothing comes. */
export class Relays implements AsyncDisposable {
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();
  #cut = false;

  static async to(ports: readonly number[]): Promise<Relays> {
    const relays = new Relays();
    for (const port of ports) {
      const server = createServer((near) => relays.#join(near, port));
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
      relays.#servers.push(server);
    }
    return relays;
  }

  get url(): string {
    return `etcd://${this.#servers.map((server) => `127.0.0.1:${(server.address() as AddressInfo).port}`).join(",")}`;
  }

  cut(): void {
    this.#cut = true;
    for (const socket of this.#sockets) socket.unpipe().pause();
  }

  mend(): void {
    this.#cut = false;
    // What was in flight is lost with its connections.
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(this.#servers.map((server) => once(server.close(), "close")));
  }

  #join(near: Socket, port: number): void {
    this.#keep(near);
    if (this.#cut) return;
    const far = connect(port, "127.0.0.1");
    this.#keep(far);
    near.pipe(far).pipe(near);
    near.once("close", () => far.destroy());
    far.once("close", () => near.destroy());
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on("error", () => undefined);
    socket.once("close", () => this.#sockets.delete(socket));
  }
}

/** @returns the letter of each thread's state, proc_pid_stat(5) */
function threadStates(pid: number): (string | undefined)[] {
  return readdirSync(`/proc/${pid}/task`).map((thread) => {
    const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 1).trim()[0];
  });
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
