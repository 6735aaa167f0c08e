// A host: namespaces, disks and an underlay address of its own, with a real dockerd and plugins that can be started and
// killed, and a power switch.
import { randomBytes } from "node:crypto";
import { closeSync, openSync } from "node:fs";
import { mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cacheDirectory } from "../../tools/cache.ts";
import type { Disks } from "./boot.ts";
import { inCgroup, removeCgroups } from "./cgroups.ts";
import { run, succeeded, type Result, type RunOptions } from "./command.ts";
import type { Engine } from "./engines.ts";
import { image, imageArchive, imageChanges } from "./image.ts";
import type { Lab } from "./lab.ts";
import { hold, type Holder } from "./namespaces.ts";
import { Service } from "./service.ts";
import { tree } from "./tree.ts";
import type { Place } from "./underlay.ts";
import { get, type Answer } from "./unix-socket.ts";
import { eventually } from "./wait.ts";

const REPOSITORY = fileURLToPath(new URL("../..", import.meta.url));
const INSIDE = "/opt/portolan";
const COMPILED = "/var/cache/node";
/** dockerd waits 15 s for each plugin that it needs and does not find. */
const DOCKER_SECONDS = 90;
const PATH = `/usr/sbin:/usr/bin:/sbin:/bin:${INSIDE}/node_modules/.bin`;

/** Where the executables are that a user would have on PATH. */
const executables: Readonly<Record<string, string>> = {
  "ts-bridge": "packages/bridge-plugin/dist/main.js",
  "ts-macvlan": "packages/macvlan-plugin/dist/ts-macvlan.js",
  "ts-ipvlan": "packages/macvlan-plugin/dist/ts-ipvlan.js",
  "ts-ipam": "packages/ipam-plugin/dist/main.js",
  "ts-overlay": "packages/overlay-plugin/dist/main.js",
};

export class Host implements AsyncDisposable {
  readonly lab: Lab;
  readonly name: string;
  readonly engine: Engine;
  readonly disks: Disks;
  /** Files of the host that the machine can read: logs of dockerd and the plugins. */
  readonly directory: string;
  readonly address: Place;
  readonly services = new Map<string, Service>();
  #init: Holder | undefined;
  #dockerdArgs: readonly string[] = [];

  private constructor(lab: Lab, name: string, engine: Engine, disks: Disks, init: Holder, address: Place) {
    this.lab = lab;
    this.name = name;
    this.engine = engine;
    this.disks = disks;
    this.directory = join(lab.directory, name);
    this.#init = init;
    this.address = address;
  }

  /** Switches a new host on. Nothing runs on it yet. */
  static async up(lab: Lab, { name, engine }: { name: string; engine: Engine }): Promise<Host> {
    const directory = join(lab.directory, name);
    const own = (folder: string): string => join(directory, folder);
    const disks: Disks = {
      name,
      machineId: randomBytes(16).toString("hex"),
      tree: await tree(engine),
      changes: own("changes"),
      work: own("work"),
      docker: own("docker"),
      root: own("root"),
      repository: REPOSITORY,
      compiled: join(cacheDirectory(), "compiled"),
      nameserver: lab.underlay.server.ipv4,
    };
    for (const folder of [disks.changes, disks.work, disks.docker, disks.root, disks.compiled])
      await mkdir(folder, { recursive: true });
    const init = await boot(directory, disks);
    return new Host(lab, name, engine, disks, init, await lab.underlay.plug(init.pid, name));
  }

  /** Pid 1 of the host, as the machine counts. */
  get pid(): number {
    if (!this.#init) throw new Error(`host ${this.name} is switched off`);
    return this.#init.pid;
  }

  get isOn(): boolean {
    return this.#init !== undefined;
  }

  /** Path of a file of the host as the machine sees it. */
  path(path: string): string {
    return `/proc/${this.pid}/root${path}`;
  }

  /** The words that run a command on the host, from the machine. */
  inside(argv: readonly string[]): readonly [string, ...string[]] {
    const namespaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd"];
    const environment = [`PATH=${PATH}`, "HOME=/root", `NODE_COMPILE_CACHE=${COMPILED}`, this.lab.mark];
    return ["nsenter", "-t", `${this.pid}`, ...namespaces, "--", "env", "-i", ...environment, ...argv];
  }

  /** Runs a program on the host to its end, however it ends. */
  exec(argv: readonly string[], options: RunOptions = {}): Promise<Result> {
    return run(this.inside(argv), { shown: `${this.name}# ${argv.join(" ")}`, ...options });
  }

  /** The output of a program that has to succeed. */
  async must(argv: readonly string[], options: RunOptions = {}): Promise<string> {
    return succeeded(await this.exec(argv, options));
  }

  /** The output of a docker command that has to succeed. */
  async docker(...args: string[]): Promise<string> {
    return succeeded(await this.tryDocker(...args));
  }

  /** A docker command that may fail. */
  async tryDocker(...args: string[]): Promise<Result> {
    const result = await this.exec(["docker", ...args], { timeout: DOCKER_SECONDS });
    // runc lost its own helper before it had started the command, as happens once in some thousand times on a busy machine.
    if (result.code === 126 && (result.stdout + result.stderr).includes("init-p: connection reset by peer"))
      return this.exec(["docker", ...args], { timeout: DOCKER_SECONDS });
    return result;
  }

  /** Words that run a command in a container's network namespace, with the host's programs: `host.exec([...words, "ip", "addr"])`. */
  async inNetworkOf(container: string): Promise<string[]> {
    return ["nsenter", `--net=/proc/${await this.docker("inspect", "-f", "{{.State.Pid}}", container)}/ns/net`, "--"];
  }

  /** Starts a program that keeps running; what it says goes to NAME.log. */
  async start(name: string, argv: readonly string[]): Promise<Service> {
    const service = await Service.start(this.inside(argv), join(this.directory, `${name}.log`));
    this.services.set(name, service);
    return service;
  }

  #service(name: string): Service {
    const service = this.services.get(name);
    if (!service) throw new Error(`${name} was never started on host ${this.name}`);
    return service;
  }

  /** GET over a Unix socket of the host; undefined when nobody answers within `seconds` (2 when left out). */
  get(socket: string, path: string, seconds?: number): Promise<Answer | undefined> {
    return get(this.path(socket), path, seconds);
  }

  /**
   * Starts dockerd and waits until it answers.
   * @param args flags for dockerd; when left out, those of the last start
   * @param within seconds; dockerd waits 15 s for each plugin that it needs and does not find
   */
  async startDockerd(args: readonly string[] = this.#dockerdArgs, within = 60): Promise<Service> {
    this.#dockerdArgs = args;
    let dockerd = await this.launchDockerd(args);
    const answers = async (): Promise<boolean> => {
      // It waits 15 s for its containerd and no longer, however slow the processor. systemd would start it again as well.
      if (!dockerd.running && (await dockerd.lastWords(1)).endsWith("timeout waiting for containerd to start"))
        dockerd = await this.launchDockerd(args);
      return this.#dockerdAnswers(dockerd);
    };
    await eventually(`dockerd ${this.engine.version} answers`, answers, { within });
    return dockerd;
  }

  /** Starts dockerd and does not wait. */
  async launchDockerd(args: readonly string[] = this.#dockerdArgs): Promise<Service> {
    const parent = `--cgroup-parent=/${this.lab.cgroupOf(this.name)}`;
    return this.start("dockerd", [...(await inCgroup(this.#cgroupOfPlugins)), "dockerd", "--debug", parent, ...args]);
  }

  get #cgroupOfPlugins(): string {
    return `${this.lab.cgroupOf(this.name)}-plugins`;
  }

  async #dockerdAnswers(dockerd: Service): Promise<boolean> {
    if (!dockerd.running)
      throw new Error(`dockerd ended with status ${await dockerd.ended}:\n${await dockerd.lastWords()}`);
    return (await this.get("/run/docker.sock", "/_ping"))?.status === 200;
  }

  /**
   * What dockerd's API answers to GET, for looks that the suites often take: to start the command line costs more than the answer.
   * Throws when the status is not 200.
   */
  async askDocker<T>(path: string): Promise<T> {
    const answer = await this.get("/run/docker.sock", path, DOCKER_SECONDS);
    if (answer?.status !== 200) throw new Error(`dockerd on ${this.name}, GET ${path}: ${answer?.body ?? "no answer"}`);
    return JSON.parse(answer.body) as T;
  }

  stopDockerd(signal: NodeJS.Signals = "SIGTERM"): Promise<number> {
    return this.#service("dockerd").stop(signal);
  }

  /** Makes the image `busybox` known to dockerd. */
  async loadImage(): Promise<void> {
    const changes = imageChanges.flatMap((change) => ["--change", change]);
    await this.must(["docker", "import", ...changes, "-", image], { input: await readFile(await imageArchive()) });
  }

  /** Starts a plugin of ours by the name that users give it, and waits until it is ready for calls. */
  async startPlugin(name: string, args: readonly string[] = []): Promise<Service> {
    const executable = executables[name];
    if (executable === undefined) throw new Error(`no plugin is called ${name}`);
    // At level debug the log is a transcript of dockerd's calls, for whoever has to understand a failure.
    const plugin = await this.start(name, ["node", `${INSIDE}/${executable}`, "--log-level", "debug", ...args]);
    const ready = async (): Promise<boolean> => {
      if (!plugin.running)
        throw new Error(`${name} ended with status ${await plugin.ended}:\n${await plugin.lastWords()}`);
      return (await this.get(`/run/portolan/${name}.sock`, "/healthz"))?.status === 200;
    };
    // Less than a second, and more than ten where many other programs want the processor.
    await eventually(`${name} is ready`, ready, { within: 60 });
    return plugin;
  }

  stopPlugin(name: string, signal: NodeJS.Signals = "SIGTERM"): Promise<number> {
    return this.#service(name).stop(signal);
  }

  /** Pulls the plug: every process dies at once, /run, links and rules are gone, the disks stay. */
  async powerOff(): Promise<void> {
    await this.#init?.kill();
    this.#init = undefined;
    await Promise.all([...this.services.values()].map(({ ended }) => ended));
    this.services.clear();
    await this.lab.underlay.unplug(this.name);
    for (const cgroup of [this.lab.cgroupOf(this.name), this.#cgroupOfPlugins]) await removeCgroups(cgroup);
  }

  /** Boots the host again from its disks. Nothing runs on it yet. */
  async powerOn(): Promise<void> {
    this.#init = await boot(this.directory, this.disks);
    await this.lab.underlay.replug(this.#init.pid, this.name, this.address);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.powerOff();
    await rm(this.directory, { recursive: true, force: true });
  }
}

async function boot(directory: string, disks: Disks): Promise<Holder> {
  const namespaces = [
    "--net",
    "--mount",
    "--uts",
    "--ipc",
    "--pid",
    "--fork",
    "--kill-child",
    "--propagation",
    "private",
  ];
  const program = [process.execPath, "--no-warnings", join(import.meta.dirname, "boot.ts"), JSON.stringify(disks)];
  const log = openSync(join(directory, "boot.log"), "a");
  try {
    return await hold(namespaces, program, log);
  } catch (error) {
    const said = await readFile(join(directory, "boot.log"), "utf8");
    throw new Error(`host ${disks.name} does not boot: ${said}`, { cause: error });
  } finally {
    closeSync(log);
  }
}
