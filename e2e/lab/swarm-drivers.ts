// A swarm whose nodes have our drivers, with etcd on the first: what suites of running services begin with.
import { startEtcd } from "./etcd.ts";
import type { Host } from "./host.ts";
import { image } from "./image.ts";
import { ask, givePlugins, ready, type Made } from "./managed.ts";
import { formSwarm } from "./swarm.ts";
import { eventually } from "./wait.ts";

/** Tasks have the lower half; what ts-overlay itself needs of the network it has above. */
const ADDRESSES = ["--subnet", "10.78.0.0/24", "--ip-range", "10.78.0.0/25"];
const RANGE = "portolan.service-range=10.78.0.192/26";

/** As `busybox`, and not the same to a swarm. */
export const NEXT_IMAGE = `${image}:next`;

/** Starts dockerd, and gives each host both images under which tasks run. */
export async function prepareNodes(hosts: readonly Host[]): Promise<void> {
  for (const host of hosts) {
    await host.startDockerd();
    await host.loadImage();
    await host.docker("tag", image, NEXT_IMAGE);
  }
}

/**
 * Installs the drivers on all hosts with the scope that a swarm needs, and makes the first one manager of the others.
 * @param own whether their plugins are started again while other hosts' run
 */
export async function formSwarmWith(
  drivers: readonly Made[],
  hosts: readonly [Host, ...Host[]],
  own = false,
): Promise<void> {
  const store = await startEtcd(hosts[0]);
  await givePlugins(hosts, drivers, own);
  for (const driver of drivers) {
    for (const host of hosts) {
      const settings = [`PORTOLAN_HOST_NAME=${host.name}`, "PORTOLAN_SCOPE=global", "PORTOLAN_LOG_LEVEL=debug"];
      if (driver.name === "ts-overlay")
        settings.push(`PORTOLAN_STORE=${store}`, "docker.source=/run", "PORTOLAN_DOCKER_SOCKET=/docker/docker.sock");
      await host.docker("plugin", "set", driver.name, ...settings);
      await enablePlugin(host, driver.name);
    }
  }
  await formSwarm(hosts);
}

/** Enables a plugin and waits until it takes calls. Docker gives it some 15 s to listen, which a busy machine may need for more. */
export async function enablePlugin(host: Host, name: string): Promise<void> {
  const enable = async () => (await host.tryDocker("plugin", "enable", "--timeout", "120", name)).code === 0;
  await eventually(`${name} is enabled on ${host.name}`, enable, { within: 240, every: 1000 });
  await ready(host, name);
}

/** Starts dockerd with its plugins; again when the machine was too busy for the 12 s that it gives them, and gives them once. */
export async function startWithPlugins(host: Host): Promise<void> {
  await host.startDockerd();
  const answer = async () => (await ask(host, "ts-overlay", "/healthz")) !== undefined;
  const startAgain = async () => {
    if (await answer()) return true;
    await host.stopDockerd();
    await host.startDockerd();
    return answer();
  };
  await eventually(`ts-overlay is there again on ${host.name}`, startAgain, { within: 200 });
}

/**
 * Has a network with virtual addresses, and waits for its number. A manager that could not give one, as its processor was too busy
 * to hear etcd in time, tries again after five minutes only: an operator makes the network once more.
 * @param flags beside these
 */
export async function createSwarmNetwork(manager: Host, name: string, ...flags: string[]): Promise<void> {
  const words = ["network", "create", "-d", "ts-overlay:latest", "--scope", "swarm", "--attachable", ...ADDRESSES];
  const numbered = async () =>
    (await manager.docker("network", "inspect", "-f", "{{json .Options}}", name)).includes("vxlanid_list");
  const attempt = async () => {
    await manager.docker(...words, "-o", RANGE, ...flags, name);
    try {
      return await eventually("a number", numbered, { within: 5, every: 500 });
    } catch {
      await manager.docker("network", "rm", name);
      return false;
    }
  };
  await eventually(`${name} has a number`, attempt, { within: 30, every: 500 });
}

/** A service's virtual address in a network. */
export async function virtualAddress(manager: Host, service: string, network: string): Promise<string> {
  const id = await manager.docker("network", "inspect", "-f", "{{.Id}}", network);
  const each = `{{range .Endpoint.VirtualIPs}}{{if eq .NetworkID "${id}"}}{{.Addr}}{{end}}{{end}}`;
  return (await manager.docker("service", "inspect", "-f", each, service)).replace(/\/.*/, "");
}
