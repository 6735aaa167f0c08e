// Puts the parts together: one host's overlay networks, on whichever kernel and stores.
import { randomUUID } from "node:crypto";
import type { Kernel } from "@portolan/kernel";
import { Ports, type PortWish } from "@portolan/ports";
import { endpointLock, KeyedLocks, type Logger, type Metrics } from "@portolan/sdk";
import type { SharedStore, Store } from "@portolan/state";
import { Peers } from "./cluster/peers.ts";
import { Presence } from "./cluster/presence.ts";
import { OverlayDriver } from "./driver.ts";
import { Encryption } from "./encryption/encryption.ts";
import { FastPath } from "./fast-path.ts";
import { Firewall } from "./firewall.ts";
import { FirewallGuard } from "./guard.ts";
import { Directory } from "./names/directory.ts";
import { DockerApi } from "./names/docker-api.ts";
import { FloodedWays } from "./flooding/flooded-ways.ts";
import { DockerNames } from "./names/docker-names.ts";
import { learnInto } from "./names/learn.ts";
import { listen, NAMES_PORT } from "./names/resolver.ts";
import { Resolvers } from "./names/resolvers.ts";
import { portName } from "./naming.ts";
import { Networks } from "./networks.ts";
import type { Scope } from "./plan-swarm.ts";
import { PATIENCE, Reconciler, type Patience } from "./reconcile.ts";
import { Records, type HostRecord } from "./records.ts";
import { Removal } from "./removal.ts";
import { dockerdsHere, type Dockerds } from "./swarm/dockerds.ts";
import { FreedNetworks } from "./swarm/freed.ts";
import { SwarmWatcher } from "./swarm/watcher.ts";
import { endpoints, status, type EndpointStatus, type OverlayStatus } from "./status.ts";
import { findUplink, ownAddress } from "./uplink.ts";
import { StoredWays } from "./ways.ts";

const WIREGUARD_PORT = 51820;

export interface OverlayOptions {
  readonly kernel: Kernel;
  /** This host's own. */
  readonly store: Store;
  /** The cluster's. */
  readonly shared: SharedStore;
  /** No other host uses the store: there are none, or in a swarm only those that the swarm tells of. */
  readonly alone: boolean;
  readonly host: string;
  readonly vtep?: string | undefined;
  /** Where this host answers the names of all its networks; an IPv4 address. */
  readonly linkLocal: string;
  /** Whose networks are served: this host's own, or a swarm's. */
  readonly scope?: Scope;
  /** Whether this host itself may ask for names. */
  readonly hostStub?: boolean;
  /** Whether frames between hosts pass the bridge by. */
  readonly hasFastPath?: boolean;
  /** Docker's own, where containers' names are to be learned from it. */
  readonly dockerSocket?: string | undefined;
  /** Opens sockets; another one in tests, whose kernel has no addresses to listen at. */
  readonly listen?: typeof listen;
  readonly log: Logger;
  readonly metrics?: Metrics;
  readonly patience?: Patience;
  /** Of the tunnels, UDP; the next one is used, too. */
  readonly wireguardPort?: number;
  /** How long an old key has to be silent before it goes; for tests. */
  readonly quietMs?: number;
  /** For tests, too. */
  readonly dockerds?: Dockerds;
}

export interface Overlay extends AsyncDisposable {
  readonly driver: OverlayDriver;
  /** For the server that serves the driver, so that calls and background work do not meet. */
  readonly locks: KeyedLocks;
  /** Brings the kernel to what the records say. Calls are to wait until it is done. */
  start(): Promise<void>;
  /** Compares records, kernel and cluster once more, as happens now and then anyway. */
  look(): Promise<void>;
  /** Resolves when what changed of services is written everywhere on this host, or was refused. */
  settled(): Promise<void>;
  /** Gives this host another key for its encrypted networks. @throws PluginError when it has none */
  rekey(): Promise<void>;
  /** An operator says that a host is gone for good. @returns the networks it was in @throws PluginError, StoreAway */
  forget(host: string): Promise<readonly string[]>;
  status(): OverlayStatus;
  /** As `status`, with what the tunnels tell at this moment. */
  freshStatus(): Promise<OverlayStatus>;
  endpoints(network: string): readonly EndpointStatus[];
}

/** Loads the records; nothing in the kernel changes before `start`. Disposing stops the background work only. */
export async function openOverlay(options: OverlayOptions): Promise<Overlay> {
  const { kernel, store, shared, alone, host, linkLocal, log, metrics, patience } = options;
  const { wireguardPort = WIREGUARD_PORT, quietMs, scope = "local", dockerds = dockerdsHere } = options;
  const records = await Records.load(store);
  const flooded =
    alone && scope === "global"
      ? await FloodedWays.open({ store, shared, records, log, dockerds, onMoved: () => moved() })
      : undefined;
  const ways = flooded ?? (await StoredWays.open({ store, shared, host, log, onPending }));
  const uplink = async () =>
    findUplink(kernel, options.vtep ?? (await ownAddress(kernel, flooded?.ownAddresses ?? [])), alone);
  let { vtep } = await uplink();
  function onPending(): void {
    reconciler.retrySoon();
  }
  /** All that has this host's address in it is to have the new one. */
  async function moved(): Promise<void> {
    const before = vtep;
    ({ vtep } = await uplink());
    if (vtep !== before) await reconciler.compare();
  }
  const locks = new KeyedLocks((ms) => metrics?.lockWaited(ms));
  const firewall = new Firewall(kernel, linkLocal);
  const fastPath = new FastPath({ kernel, records, log, host, isWanted: options.hasFastPath ?? true });
  const entry = {
    id: await hostId(store),
    get vtep() {
      return vtep;
    },
  };
  const presence = new Presence({ store: shared, host, entry });
  const peers = new Peers(shared);
  const encryption = new Encryption({
    ...{ kernel, peers, presence, records, log, host, vtep, uplink, port: wireguardPort, quietMs },
  });
  let stale = 0;
  const networks: Networks = new Networks({
    ...{ kernel, store: shared, peers, records, locks, log, host, linkLocal, firewall, fastPath, encryption },
    get vtep() {
      return vtep;
    },
    onReplaced: (carrier) => reconciler.repairSoon(carrier),
    onStale: (count) => (stale += count),
    onNetworks: () => resolvers.ensure(),
  });
  const directory = new Directory({ records, carriers: () => networks.carriers });
  const resolvers = new Resolvers({
    ...{ carriers: () => networks.carriers, directory, linkLocal, log },
    ...{ hostStub: options.hostStub ?? false, listen: options.listen ?? listen, metrics },
  });
  const ports = new Ports({
    ...{ kernel, firewall, records, locks, log, linkOf: portName, command: "ts-overlay ports" },
    holderOf: (wish) => serviceAt(wish, networks) ?? answeredAt(wish, resolvers.state.addresses),
  });
  const removal = new Removal({
    kernel,
    store: shared,
    networks,
    fastPath,
    records,
    ports,
    host,
    log,
    metrics,
    onPending,
  });
  const guard = new FirewallGuard({ kernel, firewall, encryption, records, locks, log, linkLocal });
  const api = options.dockerSocket === undefined ? undefined : new DockerApi(options.dockerSocket);
  const learner =
    api && new DockerNames({ api, learn: learnInto({ records, networks, locks, store: shared, log }), log });
  const watcher = api && scope === "global" ? new SwarmWatcher({ api, store: shared, log }) : undefined;
  const { homeMs: patienceMs } = patience ?? PATIENCE;
  const freed = new FreedNetworks({ kernel, records, removal, ways, dockerds, locks, log, patienceMs });
  const reconciler: Reconciler = new Reconciler({
    ...{
      kernel,
      store: shared,
      host,
      networks,
      presence,
      encryption,
      records,
      removal,
      ports,
      ways,
      freed,
      locks,
      log,
    },
    ...{ patience, scope },
  });
  const lookingForItself = peers.listen((peer) => {
    if (peer === host && peers.get(host)?.vtep === undefined) reconciler.tellSoon();
  });
  const told = {
    ...{ host, store: shared.name, records, networks, peers, removal, ports, guard, reconciler, encryption },
    ...{ resolvers, learner, watcher, fastPath, ways },
  };
  const now = () => status({ ...told, vtep, staleEntries: () => stale });
  return {
    driver: new OverlayDriver({
      kernel,
      store: shared,
      networks,
      fastPath,
      records,
      removal,
      ports,
      ways,
      freed,
      dockerds,
      encryption,
      locks,
      log,
      host,
      uplink,
      linkLocal,
      scope,
    }),
    locks,
    async start() {
      // Before anything else: nobody else shall have the ports.
      for (const { id, network } of ports.incomplete)
        await locks.run(endpointLock(network, id), "start", () => ports.restore(id));
      await guard.start();
      await reconciler.start();
      learner?.start();
      watcher?.start();
    },
    async look() {
      await reconciler.look();
      await reconciler.compare();
    },
    async settled() {
      for (const { services } of networks.carriers.values()) await services.settled();
    },
    rekey: () => encryption.rekey(),
    forget: (gone) => ways.forget(gone),
    status: now,
    async freshStatus() {
      await encryption.refresh();
      return now();
    },
    endpoints: (network) => endpoints({ records, networks }, network),
    async [Symbol.asyncDispose]() {
      await watcher?.[Symbol.asyncDispose]();
      await learner?.[Symbol.asyncDispose]();
      await resolvers[Symbol.asyncDispose]();
      await reconciler[Symbol.asyncDispose]();
      await guard[Symbol.asyncDispose]();
      await networks[Symbol.asyncDispose]();
      ports[Symbol.dispose]();
      await encryption[Symbol.asyncDispose]();
      lookingForItself[Symbol.dispose]();
      await peers[Symbol.asyncDispose]();
      await presence[Symbol.asyncDispose]();
    },
  };
}

/** A service that has one of the ports on every host. */
function serviceAt({ protocol, first, last }: PortWish, { carriers }: Networks): string | undefined {
  for (const { network, services } of carriers.values()) {
    for (let port = first; port <= last; port += 1) {
      const service = services.mesh.state.ports[`${port}/${protocol}`];
      if (service !== undefined)
        return `The service ${service} of the network ${network.name} has it on every host: "ts-overlay services" shows all.`;
    }
  }
  return undefined;
}

/** Linux lets nobody have a port at all addresses while somebody has it at one, as this host's own resolver has its. */
function answeredAt({ protocol, hostAddresses, last }: PortWish, own: readonly string[]): string | undefined {
  if (last !== NAMES_PORT || protocol === "sctp") return undefined;
  const isAt = (address: string) => (each: string) =>
    each === address || each === (address.includes(":") ? "::" : "0.0.0.0");
  const address = own.find((each) => hostAddresses.some(isAt(each)));
  if (address === undefined) return undefined;
  return `ts-overlay answers containers' questions for names at ${address}, port ${NAMES_PORT}: name another address of this host, as in -p ADDRESS:${NAMES_PORT}:${NAMES_PORT}/udp.`;
}

async function hostId(store: Store): Promise<string> {
  const hosts = store.collection<HostRecord>("host");
  const known = await hosts.get("this");
  if (known) return known.id;
  const record: HostRecord = { id: randomUUID() };
  await hosts.put("this", record);
  return record.id;
}
