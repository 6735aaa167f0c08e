// Which node tells the others, and what becomes of what it told: Docker is a stand-in here, suite 700 has the real one.
import { setTimeout as sleep } from "node:timers/promises";
import { silentLogger } from "@portolan/sdk";
import { SharedMemory } from "@portolan/state";
import { allocate, free } from "../cluster/allocation.ts";
import { Numbers } from "./numbers.ts";
import { SwarmWatcher } from "./watcher.ts";

const NET = "m2j5ukvxgbymlhffft0qmx9g2";
const KEY = `networks/${NET}/balanced/s1`;

/** As dockerd tells of what the cluster has. */
const network = (id: string, options: Readonly<Record<string, string>> | null = null) => ({
  ...{ Id: id, Scope: "swarm", Containers: null, Options: options },
});
/** What the cluster has always. */
const CLUSTERS = [{ ...network("5x6qeb5mwc7rvaxqg6w9m7r4e"), Ingress: true }];

class Docker {
  leads = true;
  isManager = true;
  /** Of the one service; none, and there is no service. */
  running: readonly string[] | undefined = ["10.78.0.4"];
  readonly asked: string[] = [];
  state = "running";
  swarm = "ours";
  networks: readonly object[] = [network(NET)];
  /** It cannot ask the cluster, and says what its own host has. */
  isPartial = false;
  #streams: PromiseWithResolvers<undefined>[] = [];

  get(path: string): Promise<unknown> {
    this.asked.push(path.replace(/\?.*/, ""));
    if (path === "/info") return Promise.resolve({ Swarm: this.#inSwarm() });
    if (path === "/nodes/n1") return Promise.resolve({ ManagerStatus: { Leader: this.leads } });
    if (path.startsWith("/networks?")) return Promise.resolve([...this.networks, ...(this.isPartial ? [] : CLUSTERS)]);
    const tasks = (this.running ?? []).map((address) => ({
      ...{ ServiceID: "s1", DesiredState: "running", Status: { State: this.state } },
      NetworksAttachments: [{ Network: { ID: NET }, Addresses: [`${address}/24`] }],
    }));
    if (path.startsWith("/tasks")) return Promise.resolve(tasks);
    const web = {
      ID: "s1",
      Spec: { Name: "web" },
      Endpoint: { VirtualIPs: [{ NetworkID: NET, Addr: "10.78.0.2/24" }] },
    };
    return Promise.resolve(this.running ? [web] : []);
  }

  #inSwarm() {
    return { NodeID: "n1", ControlAvailable: this.isManager, Cluster: { ID: this.swarm } };
  }

  stream(): Promise<AsyncIterable<unknown>> {
    const streams = this.#streams;
    return Promise.resolve(
      (async function* () {
        for (;;) {
          const next = Promise.withResolvers<undefined>();
          streams.push(next);
          await next.promise;
          yield "an event";
        }
      })(),
    );
  }

  /** It says that a service was changed. */
  speak(): void {
    for (const waiting of this.#streams.splice(0)) waiting.resolve(undefined);
  }

  die(): void {
    for (const waiting of this.#streams.splice(0)) waiting.reject(new Error("Docker went"));
  }
}

/** Only after events. */
const NEVER = { moving: 1e6, settling: 0, steady: 1e6, idle: 1e6, retry: 10, lost: 20 };
let memory: SharedMemory;
let docker: Docker;
let watcher: SwarmWatcher;
beforeEach(async () => {
  memory = new SharedMemory();
  docker = new Docker();
  await allocate(memory.connect("manager"), { id: NET, name: NET });
  watcher = new SwarmWatcher({ api: docker, store: memory.connect("manager"), log: silentLogger, pace: NEVER });
});
afterEach(() => watcher[Symbol.asyncDispose]());

const told = () => memory.entry(KEY)?.value;
async function until(look: () => boolean): Promise<void> {
  const end = Date.now() + 3000;
  while (!look()) {
    if (Date.now() > end) throw new Error("not in time");
    await sleep(5);
  }
}
const leadsTo = (...targets: string[]) => ({ name: "web", vips: ["10.78.0.2"], targets });

it("the manager that leads tells where an address leads, and again when Docker says that something has changed", async () => {
  watcher.start();
  await until(() => told() !== undefined);
  expect(told()).toEqual(leadsTo("10.78.0.4"));
  docker.running = ["10.78.0.5", "10.78.0.4"];
  docker.speak();
  await until(() => JSON.stringify(told()).includes("10.78.0.5"));
  expect(told()).toEqual(leadsTo("10.78.0.4", "10.78.0.5"));
  docker.running = undefined;
  docker.speak();
  await until(() => told() === undefined);
});

it("what follows from an event it sees without another one, and after a while it looks no more", async () => {
  await watcher[Symbol.asyncDispose]();
  const pace = { ...NEVER, moving: 5, settling: 200 };
  watcher = new SwarmWatcher({ api: docker, store: memory.connect("manager"), log: silentLogger, pace });
  watcher.start();
  await until(() => told() !== undefined);
  docker.speak();
  await sleep(30);
  // As when a node is drained: first the node is another one, then its tasks are.
  docker.running = ["10.78.0.7"];
  await until(() => JSON.stringify(told()).includes("10.78.0.7"));
  await sleep(250);
  docker.asked.length = 0;
  await sleep(50);
  expect(docker.asked).toEqual([]);
});

it.each([
  ["a manager that does not lead", { leads: false }],
  ["a worker", { isManager: false }],
])("%s tells nothing, and asks for no services", async (_, given) => {
  Object.assign(docker, given);
  watcher.start();
  await until(() => docker.asked.length > 0);
  await sleep(30);
  expect([told(), docker.asked.includes("/services"), watcher.state.leads]).toEqual([undefined, false, false]);
});

it("goes on when Docker was away, and writes nothing that is so already", async () => {
  watcher.start();
  await until(() => told() !== undefined);
  const before = memory.entry(KEY)?.revision;
  docker.asked.length = 0;
  docker.die();
  await until(() => docker.asked.includes("/tasks"));
  await sleep(30);
  expect(memory.entry(KEY)?.revision).toBe(before);
  expect(watcher.state).toEqual({ leads: true });
});

it("what was told goes with the network, and nothing is told of one that is not ts-overlay's", async () => {
  watcher.start();
  await until(() => told() !== undefined);
  await free(memory.connect("manager"), NET);
  docker.speak();
  await sleep(30);
  expect(memory.keys).toEqual([]);
});

async function begin(pace: object = { steady: 5, idle: 5 }): Promise<void> {
  await watcher[Symbol.asyncDispose]();
  watcher = new SwarmWatcher({
    ...{ api: docker, store: memory.connect("manager"), log: silentLogger },
    pace: { ...NEVER, ...pace },
  });
  watcher.start();
}

describe("the number of a network that Docker has no more", () => {
  const marked = () => (memory.entry(`swarm/${NET}`)?.value as { swarm?: string } | undefined)?.swarm;

  it("is given back, though Docker does not do it", async () => {
    await begin();
    await until(() => marked() === "ours");
    docker.networks = [];
    await until(() => memory.keys.length === 0);
  });

  it("stays while Docker cannot ask the cluster, and says so with a list of what its own host has", async () => {
    await begin();
    await until(() => marked() === "ours");
    const own = { ...network("another"), Containers: {} };
    // Docker 29 tells of no containers in a list, whosever it is.
    for (const networks of [[own], [{ ...own, Containers: undefined }]]) {
      Object.assign(docker, { isPartial: true, networks });
      await sleep(100);
      expect(marked()).toBe("ours");
    }
  });

  it("stays, and nobody's mark is another one, while Docker does not say which swarm this is", async () => {
    docker.swarm = "";
    await begin();
    await sleep(60);
    expect([marked(), watcher.state.trouble]).toEqual([undefined, "Docker does not say which swarm this is"]);
    docker.swarm = "ours";
    await until(() => marked() === "ours");
    Object.assign(docker, { swarm: "", networks: [] });
    await sleep(100);
    expect(marked()).toBe("ours");
  });

  it("stays for as long as Docker may take to do it, or says in between that it has it", async () => {
    await begin({ steady: 5, lost: 1e6 });
    await until(() => marked() === "ours");
    docker.networks = [];
    await sleep(60);
    expect(marked()).toBe("ours");
  });

  it("stays where this manager does not lead", async () => {
    await begin();
    await until(() => marked() === "ours");
    Object.assign(docker, { leads: false, networks: [] });
    await sleep(60);
    expect(marked()).toBe("ours");
  });

  it("stays when it is another swarm's, or nobody has said whose it is, and so do the other's services", async () => {
    docker.networks = [];
    await begin();
    await sleep(60);
    expect([memory.entry(`swarm/${NET}`)?.value, told() !== undefined]).toEqual([{ network: NET }, true]);
    memory.write({ key: `swarm/${NET}`, value: { network: NET, swarm: "theirs" } });
    docker.running = undefined;
    await sleep(60);
    expect([marked(), told() !== undefined]).toEqual(["theirs", true]);
  });
});

describe("the number of a network that Docker has and the store has lost", () => {
  const numbered = (id: string, vni: number, allocated = "etcd") =>
    network(id, { "com.docker.network.driver.overlay.vxlanid_list": `${vni}`, "portolan.allocated": allocated });
  const [lost, taken, others] = ["k9s0d7h3vq1c8m2b5x4n6z7l1", "t".repeat(25), "o".repeat(25)] as const;

  it("is put back, whatever keeps another one from that, and is nothing to networks of another kind", async () => {
    await allocate(memory.connect("manager"), { id: "new", name: "new", vni: 5002 });
    docker.networks = [numbered(taken, 5002), numbered(others, 5003, others), network(NET), numbered(lost, 5001)];
    await begin();
    const there = () => memory.keys.filter((key) => /^(swarm|vnis)\//.test(key));
    await until(() => JSON.stringify(memory.entry(`swarm/${lost}`)?.value ?? "").includes("ours"));
    expect(memory.entry(`networks/${lost}/allocated`)?.value).toEqual({ id: lost, vni: 5001 });
    expect(there()).toHaveLength(6);
    expect(there()).not.toContain(`swarm/${taken}`);
    // As its own, so that it is given back as well.
    docker.networks = [network(NET)];
    await until(() => memory.entry(`swarm/${lost}`) === undefined);
  });

  it("is the swarm's own from the first, so that it is given back when the network goes before the next look", async () => {
    const numbers = new Numbers({ store: memory.connect("manager"), log: silentLogger, patienceMs: 0 });
    await numbers.look("ours", [], [numbered(lost, 5001)]);
    expect(memory.entry(`swarm/${lost}`)?.value).toEqual({ network: lost, swarm: "ours" });
  });

  it("is not put back before Docker has had the time to give it, or to give it back", async () => {
    docker.networks = [numbered(lost, 5001)];
    await begin({ idle: 5, lost: 1e6 });
    await sleep(60);
    expect(memory.entry(`swarm/${lost}`)).toBeUndefined();
  });

  it("stays lost where this manager does not lead", async () => {
    Object.assign(docker, { leads: false, networks: [numbered(lost, 5001)] });
    await begin();
    await sleep(60);
    expect(memory.entry(`swarm/${lost}`)).toBeUndefined();
  });
});

it("looks often while a task takes new steps, and not for ever at one that takes none", async () => {
  await watcher[Symbol.asyncDispose]();
  const pace = { ...NEVER, moving: 5, settling: 100, steady: 1e6 };
  docker.state = "preparing";
  watcher = new SwarmWatcher({ api: docker, store: memory.connect("manager"), log: silentLogger, pace });
  watcher.start();
  await until(() => docker.asked.filter((path) => path === "/tasks").length > 2);
  await sleep(300);
  docker.asked.length = 0;
  await sleep(50);
  expect(docker.asked).toEqual([]);
});

it("keeps nothing of one look for the next", async () => {
  await watcher[Symbol.asyncDispose]();
  const race = Promise.race.bind(Promise);
  const racers: unknown[] = [];
  // A promise that never settles keeps a reaction for each race that it is in.
  Promise.race = (all: Iterable<unknown>) => {
    const each = [...all];
    racers.push(...each);
    return race(each);
  };
  try {
    const pace = { ...NEVER, moving: 1, steady: 1 };
    watcher = new SwarmWatcher({ api: docker, store: memory.connect("manager"), log: silentLogger, pace });
    watcher.start();
    await until(() => racers.length > 10);
  } finally {
    Promise.race = race;
  }
  expect(new Set(racers).size).toBe(racers.length);
});
