// A swarm of the lab's hosts, and the services that run in it.
import { SERVE } from "./containers.ts";
import type { Host } from "./host.ts";
import { image } from "./image.ts";
import { patience } from "./patience.ts";
import { eventually } from "./wait.ts";

const MANAGEMENT = 2377;

/** Makes the first host a swarm's manager, and the others its workers. */
export async function formSwarm([first, ...others]: readonly [Host, ...Host[]]): Promise<void> {
  // By default 5 s: an emulated processor misses some, and each node that the manager takes for down begins its tasks anew.
  const heartbeat = ["--dispatcher-heartbeat", `${5 * patience}s`];
  await first.docker("swarm", "init", "--advertise-addr", first.address.ipv4, ...heartbeat);
  for (const host of others) await joinSwarm(first, host);
}

/** Makes a host a worker of the manager's swarm. */
export async function joinSwarm(manager: Host, host: Host): Promise<void> {
  const token = await manager.docker("swarm", "join-token", "-q", "worker");
  const own = ["--advertise-addr", host.address.ipv4, "--token", token];
  await host.docker("swarm", "join", ...own, `${manager.address.ipv4}:${MANAGEMENT}`);
}

/** Gives the suites' image to a registry, since each node asks for it there. @returns what services call it */
export async function pushImage(host: Host, registry: string): Promise<string> {
  const pushed = `${registry}/${image}`;
  await host.docker("tag", image, pushed);
  await host.docker("push", pushed);
  return pushed;
}

/**
 * Creates a service whose tasks are called `SERVICE-NODE-SLOT`, and waits until they run.
 * @param more.serve what tasks run; left out: they serve as `runContainer`'s do
 */
export async function createService(
  manager: Host,
  name: string,
  more: { image: string; replicas: number; flags?: readonly string[]; serve?: string },
): Promise<void> {
  const { image: from, replicas, flags = [], serve = SERVE } = more;
  const hostname = ["--hostname", "{{.Service.Name}}-{{.Node.Hostname}}-{{.Task.Slot}}", "--init"];
  const words = ["service", "create", "--detach", "--name", name, "--replicas", `${replicas}`, ...hostname, ...flags];
  await order(manager, ...words, from, "sh", "-c", serve);
  await allRun(manager, name, replicas);
}

/** Runs a docker command that has to succeed, as an operator does in a swarm that has just lost its leader: once more. */
async function order(manager: Host, ...words: readonly string[]): Promise<void> {
  let attempts = 0;
  await eventually(
    "the swarm takes orders",
    async () => {
      const { code, stderr } = await manager.tryDocker(...words);
      attempts += 1;
      // The leader that was lost may have heard the first one.
      if (code === 0 || (attempts > 1 && stderr.includes("name conflicts with an existing object"))) return true;
      if (/lost leader status|does not have a leader/.test(stderr)) return false;
      throw new Error(stderr);
    },
    { within: 60, every: 500 },
  );
}

export async function scale(manager: Host, name: string, replicas: number): Promise<void> {
  await manager.docker("service", "scale", "--detach", `${name}=${replicas}`);
  await allRun(manager, name, replicas);
}

/** Waits until a service has as many tasks that run, and no others on any node. */
export async function allRun(manager: Host, name: string, replicas: number): Promise<void> {
  try {
    await eventually(
      `${replicas} tasks of ${name} run`,
      async () => {
        const filter = ["--filter", "desired-state=running", "--format", "{{.CurrentState}}"];
        const states = (await manager.docker("service", "ps", ...filter, name)).split("\n").filter(Boolean);
        return states.length === replicas && states.every((state) => state.startsWith("Running"));
      },
      { within: 60, every: 500 },
    );
  } catch (error) {
    const told = await manager.docker("service", "ps", "--no-trunc", name);
    throw new Error(`${name} does not run:\n${told}`, { cause: error });
  }
}

/** The containers of a service's tasks that run on the host. */
export async function tasksOn(host: Host, service: string): Promise<readonly string[]> {
  const label = `label=com.docker.swarm.service.name=${service}`;
  return (await host.docker("ps", "--quiet", "--filter", label)).split("\n").filter(Boolean);
}

/** Waits until no task's container is left on the hosts, running or not. */
export async function noTasks(hosts: readonly Host[], service: string): Promise<void> {
  for (const host of hosts) {
    const label = `label=com.docker.swarm.service.name=${service}`;
    await eventually(
      `no container of ${service} is left on ${host.name}`,
      async () => (await host.docker("ps", "--all", "--quiet", "--filter", label)) === "",
      { within: 60, every: 500 },
    );
  }
}

/** The IPv4 addresses that Docker's own resolver has for a name in the container, in order; none when it has none. */
export async function lookUp(host: Host, container: string, name: string): Promise<readonly string[]> {
  const { stdout } = await host.tryDocker("exec", container, "nslookup", "-type=a", name);
  return [...stdout.matchAll(/^Address[ \d]*:[ \t]*(\d+\.\d+\.\d+\.\d+)$/gm)]
    .map(([, address = ""]) => address)
    .toSorted();
}

/** The manager that leads, as a host hears; undefined while there is none. */
export async function leaderOf(asked: Host, hosts: readonly Host[]): Promise<Host | undefined> {
  const { stdout } = await asked.tryDocker("node", "ls", "--format", "{{.Hostname}} {{.ManagerStatus}}");
  const [, name] = /^(\S+) Leader$/m.exec(stdout) ?? [];
  return hosts.find((host) => host.name === name);
}

/** Waits until another manager leads than the one that went. */
export async function nextLeader(gone: Host, hosts: readonly Host[]): Promise<Host> {
  const asked = hosts.find((host) => host !== gone);
  return eventually(
    "another manager leads",
    async () => {
      const leader = asked && (await leaderOf(asked, hosts));
      return leader !== gone && leader;
    },
    { within: 60, every: 500 },
  );
}

/** Makes workers managers, and waits until they are. */
export async function promote(manager: Host, ...workers: readonly Host[]): Promise<void> {
  await manager.docker("node", "promote", ...workers.map(({ name }) => name));
  for (const { name } of workers) await isManager(manager, name);
}

/** Waits until a host takes part as a manager. */
export async function isManager(asked: Host, name: string): Promise<void> {
  const field = "{{with .ManagerStatus}}{{.Reachability}}{{end}}";
  await eventually(
    `${name} is a manager`,
    async () => (await asked.docker("node", "inspect", "-f", field, name)) === "reachable",
    { within: 60, every: 500 },
  );
}
