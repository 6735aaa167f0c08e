// From what Docker tells of a swarm's services and tasks to what all nodes have to know. Pure.
import type { BalancedEntry } from "../cluster/keys.ts";

/** As in the answer to `GET /services`, as far as it is read. */
export interface DockerService {
  readonly ID?: string;
  readonly Spec?: { readonly Name?: string };
  readonly Endpoint?: {
    readonly VirtualIPs?: readonly { readonly NetworkID?: string; readonly Addr?: string }[] | null;
  };
  readonly UpdateStatus?: { readonly State?: string };
}

/** As in the answer to `GET /tasks`. */
export interface DockerTask {
  readonly ServiceID?: string;
  readonly DesiredState?: string;
  readonly Status?: { readonly State?: string };
  readonly NetworksAttachments?:
    readonly { readonly Network?: { readonly ID?: string }; readonly Addresses?: readonly string[] | null }[] | null;
}

export interface Tally {
  /** By network, then by service, both by Docker's ids. */
  readonly networks: ReadonlyMap<string, ReadonlyMap<string, BalancedEntry>>;
  /** Tasks are about to start or to be replaced: it will be another one in a moment. */
  readonly isMoving: boolean;
}

/** Those with a virtual address in a network, with their tasks that run there: a task that has a health check runs once it is healthy. */
export function tally(services: readonly DockerService[], tasks: readonly DockerTask[]): Tally {
  const networks = new Map<string, Map<string, BalancedEntry>>();
  for (const { ID: id, Spec, Endpoint } of services) {
    const name = Spec?.Name;
    if (id === undefined || name === undefined) continue;
    for (const { NetworkID: network, Addr } of Endpoint?.VirtualIPs ?? []) {
      const vip = bare(Addr);
      if (network === undefined || vip === undefined) continue;
      const targets = tasks
        .filter((task) => task.ServiceID === id && isRunning(task))
        .flatMap((task) => addressesIn(task, network))
        .toSorted();
      const known = networks.get(network) ?? new Map<string, BalancedEntry>();
      networks.set(network, known.set(id, { name, vips: [vip], targets }));
    }
  }
  // One that is to be ready waits for the one in whose place it comes.
  const isMoving =
    tasks.some((task) => task.DesiredState === "ready" || (task.DesiredState === "running" && !isRunning(task))) ||
    services.some(({ UpdateStatus }) => /ing$|started$/.test(UpdateStatus?.State ?? ""));
  return { networks, isMoving };
}

const isRunning = ({ DesiredState, Status }: DockerTask) => DesiredState === "running" && Status?.State === "running";

const addressesIn = ({ NetworksAttachments }: DockerTask, network: string): readonly string[] =>
  (NetworksAttachments ?? []).flatMap(({ Network, Addresses }) =>
    Network?.ID === network ? (Addresses ?? []).flatMap((address) => bare(address) ?? []) : [],
  );

/** Without the prefix length. */
function bare(address: string | undefined): string | undefined {
  return address === undefined || address === "" ? undefined : address.replace(/\/\d+$/, "");
}
