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
  /** Of a replicated service; one that is in another's place has the same. */
  readonly Slot?: number;
  readonly NodeID?: string;
  readonly ServiceID?: string;
  readonly DesiredState?: string;
  readonly Status?: { readonly State?: string };
  readonly NetworksAttachments?:
    readonly { readonly Network?: { readonly ID?: string }; readonly Addresses?: readonly string[] | null }[] | null;
}

export interface Tally {
  /** By network, then by service, both by Docker's ids. */
  readonly networks: ReadonlyMap<string, ReadonlyMap<string, BalancedEntry>>;
  /** Steps that tasks take before they run, and of updates: it will be another tally soon. A task that is tried anew takes the same ones. */
  readonly moving: readonly string[];
}

/**
 * Those with a virtual address in a network, with their tasks that run there: a task that has a health check runs once it is healthy.
 * @param own networks, by Docker's ids: what moves elsewhere is of no interest
 */
export function tally(
  services: readonly DockerService[],
  tasks: readonly DockerTask[],
  own: ReadonlySet<string>,
): Tally {
  const networks = new Map<string, Map<string, BalancedEntry>>();
  const ids = new Set<string>();
  for (const { ID: id, Spec, Endpoint } of services) {
    const name = Spec?.Name;
    if (id === undefined || name === undefined) continue;
    for (const { NetworkID: network, Addr } of Endpoint?.VirtualIPs ?? []) {
      const vip = bare(Addr);
      if (network === undefined || vip === undefined || !own.has(network)) continue;
      ids.add(id);
      const targets = tasks
        .filter((task) => task.ServiceID === id && isRunning(task))
        .flatMap((task) => addressesIn(task, network))
        .toSorted();
      const known = networks.get(network) ?? new Map<string, BalancedEntry>();
      networks.set(network, known.set(id, { name, vips: [vip], targets }));
    }
  }
  // One that is to be ready waits for the one in whose place it comes.
  const starting = tasks.filter(
    (task) => task.DesiredState === "ready" || (task.DesiredState === "running" && !isRunning(task)),
  );
  const updating = services.filter(({ UpdateStatus }) => /ing$|started$/.test(UpdateStatus?.State ?? ""));
  const steps = [
    ...starting.map(({ ServiceID = "", Slot, NodeID, DesiredState, Status }) => {
      return [ServiceID, String(Slot ?? NodeID), DesiredState, Status?.State] as const;
    }),
    ...updating.map(({ ID = "", UpdateStatus }) => [ID, "update", UpdateStatus?.State] as const),
  ];
  return { networks, moving: steps.filter(([id]) => ids.has(id)).map((step) => step.join(" ")) };
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
