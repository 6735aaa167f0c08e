// A host for tests: ts-ipam on a disk in memory, with a clock that tests turn, and restarts at any moment.
import { Cidr, silentLogger, type CallContext, type PoolId } from "@portolan/sdk";
import { MemoryDisk, openMemoryStore, type CommitHook, type SharedStore, type Store } from "@portolan/state";
import { DEFAULT_IPV4, parseDefaultPools, ulaOf } from "../addresses/default-pools.ts";
import { parsePrefix } from "../addresses/ip.ts";
import { PortolanIpamDriver } from "../driver.ts";
import { Journal } from "../journal.ts";
import { schema } from "../records.ts";
import { Registry, SPACES } from "../registry.ts";
import { SharedPools } from "../shared/shared-pools.ts";

const call: CallContext = { verb: "test", call: 1, signal: new AbortController().signal, unknownFields: new Map() };

export interface PoolArguments {
  readonly space?: string;
  readonly pool?: string;
  readonly range?: string;
  readonly options?: Readonly<Record<string, string>>;
  readonly ipv6?: boolean;
}

export interface AddressArguments {
  readonly address?: string;
  readonly gateway?: boolean;
  readonly serial?: boolean;
  readonly mac?: string;
  readonly name?: string;
}

export class IpamHost {
  readonly disk = new MemoryDisk();
  /** Milliseconds since 1970, as the driver sees it. */
  clock = Date.UTC(2026, 0, 1);
  /** Subnets that the host uses itself. */
  taken: string[] = [];
  defaultPools = DEFAULT_IPV4;
  onCommit: CommitHook | undefined;
  /** The way to a shared store, for a host that has one. */
  wire: SharedStore | undefined;
  shared: SharedPools | undefined;
  /** What the others that share the store call it. */
  name = "one";
  /** What tells this machine from others of its name; the name itself when left out. */
  machine: string | undefined;
  /** `global` on a swarm's node. */
  scope: "local" | "global" = "local";
  /** How long this host waits for another, in milliseconds. */
  patience = 50;
  /** Answers to the questions that need no records. */
  readonly seen: unknown[] = [];
  #store!: Store;
  #journal!: Journal;
  registry!: Registry;
  driver!: PortolanIpamDriver;

  static async start(
    settings: Partial<
      Pick<IpamHost, "taken" | "defaultPools" | "wire" | "name" | "patience" | "machine" | "scope">
    > = {},
  ): Promise<IpamHost> {
    const host = Object.assign(new IpamHost(), settings);
    await host.#open();
    return host;
  }

  /** `kill -9` of the plugin, and its return. */
  async restart(): Promise<void> {
    this.disk.powerOff();
    await this.shared?.[Symbol.asyncDispose]();
    await this.#open();
  }

  async #open(): Promise<void> {
    const onCommit: CommitHook = (moment, changes) => this.onCommit?.(moment, changes);
    this.#store = (await openMemoryStore({ disk: this.disk, schema, onCommit })).store;
    this.#journal = new Journal(this.#store);
    this.registry = await Registry.load(this.#store, this.#journal);
    this.driver = new PortolanIpamDriver({
      host: {
        taken: (family) => Promise.resolve(this.taken.map(parsePrefix).filter((prefix) => prefix.family === family)),
      },
      now: () => this.clock,
      scope: this.scope,
    });
    if (this.wire) {
      this.shared = await SharedPools.open(
        {
          store: this.wire,
          host: this.name,
          hostId: this.machine ?? this.name,
          registry: this.registry,
          journal: this.#journal,
          log: silentLogger,
          now: () => this.clock,
          patience: this.patience,
        },
        this.#store,
      );
    }
    this.driver.open({
      ...(this.shared ? { shared: this.shared } : {}),
      registry: this.registry,
      journal: this.#journal,
      hostId: "test",
      defaultPools: [...parseDefaultPools(this.defaultPools), ulaOf("test")],
    });
  }

  /** What dockerd asks when it starts; 28 asks for the address spaces before each pool. */
  register(): void {
    this.seen.push(this.driver.capabilities);
  }

  askSpaces(times = 1): void {
    for (let time = 0; time < times; time += 1) this.seen.push(this.driver.addressSpaces);
  }

  /** @returns the pool's id */
  async pool(given: PoolArguments | string): Promise<PoolId> {
    const {
      space = SPACES.local,
      pool,
      range,
      options = {},
      ipv6,
    } = typeof given === "string" ? { pool: given } : given;
    const reply = await this.driver.requestPool(
      {
        addressSpace: space,
        ...(pool === undefined ? {} : { pool: Cidr.parse(pool) }),
        ...(range === undefined ? {} : { subPool: Cidr.parse(range) }),
        options,
        ipv6: ipv6 ?? pool?.includes(":") ?? false,
      },
      call,
    );
    return reply.poolId;
  }

  /** @returns the subnet of a pool */
  subnetOf(poolId: PoolId): string | undefined {
    return this.registry.pool(poolId)?.record.subnet;
  }

  /** @returns the address with its prefix length */
  async address(poolId: PoolId, given: AddressArguments | string = {}): Promise<string> {
    const {
      address,
      gateway = false,
      serial = false,
      mac,
      name,
    }: AddressArguments = typeof given === "string" ? { address: given } : given;
    const reply = await this.driver.requestAddress(
      {
        poolId,
        ...(address === undefined ? {} : { address }),
        gateway,
        serial,
        ...(mac === undefined ? {} : { macAddress: mac as never }),
        ...(name === undefined ? {} : { endpointName: name }),
        options: {},
      },
      call,
    );
    return reply.address.toString();
  }

  async releaseAddress(poolId: PoolId, address: string): Promise<void> {
    await this.driver.releaseAddress({ poolId, address: address.replace(/\/.*/, "") });
  }

  async releasePool(poolId: PoolId): Promise<void> {
    await this.driver.releasePool({ poolId });
  }

  /** Ends what is still being written. */
  async settle(): Promise<void> {
    await this.#journal.idle();
    await new Promise((resolve) => setImmediate(resolve));
  }
}
