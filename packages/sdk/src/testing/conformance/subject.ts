// What the conformance checks need of a driver package: a host on which its driver lives, dies and lives again.
import type { IpamDriver } from "../../ipam-driver.ts";
import type { KeyedLocks } from "../../locks.ts";
import type { NetworkDriver } from "../../network-driver.ts";
import type { LinkMover } from "../dockerd/endpoints.ts";

/**
 * Where a process may die. The store says `reach` before and after each commit, the kernel before each step that changes
 * something, and undo steps are kernel steps too. It throws when the process is to be dead by then, and for ever after:
 * nothing that a dead process still tries may change anything.
 */
export interface CrashPoints {
  /** @param step in words, for the name of a failed check: `create bridge pt-abc`, `before commit` */
  reach(step: string): void;
}

/** One life of the plugin's process, from its start until `close` or `kill`. */
export interface Life {
  readonly network?: NetworkDriver;
  readonly ipam?: IpamDriver;
  /** Locks that the driver shares with its own background work. */
  readonly locks?: KeyedLocks;
  /** The orderly end. */
  close(): Promise<void>;
  /** As `kill -9`: lets go of what the system takes from a dead process (file locks, ports), and of nothing else. */
  kill(): Promise<void> | void;
}

/** What a driver package opens, with its background work; disposing ends that. */
export interface OpenedPlugin extends AsyncDisposable {
  readonly driver: NetworkDriver;
  readonly locks: KeyedLocks;
}

/** @param store what the process lets go of itself only in an orderly end */
export function lifeOf(plugin: OpenedPlugin, store: AsyncDisposable): Life {
  return {
    network: plugin.driver,
    locks: plugin.locks,
    close: async () => {
      await plugin[Symbol.asyncDispose]();
      await store[Symbol.asyncDispose]();
    },
    kill: async () => {
      await plugin[Symbol.asyncDispose]();
    },
  };
}

/** What outlives the plugin's process: its durable state, and the kernel it works on. */
export interface Host {
  /**
   * Starts the driver on what is there: state loaded, kernel reconciled, ready for calls. When it throws, the process
   * that was to be has ended: locks that such a process would have held must be free.
   */
  start(crashPoints: CrashPoints): Promise<Life>;
  /**
   * Everything that the driver may have made, kernel objects and records alike, one line for each. What is there before
   * the first call may stay.
   */
  inventory(): Promise<readonly string[]> | readonly string[];
  /** The kernel loses everything, the durable state nothing. Left out: not tested. */
  reboot?(): Promise<void> | void;
  /** For kernels, real or fake, with links: what dockerd does with the link that Join names. */
  readonly links?: LinkMover;
  /** The end of the test: everything goes. */
  dispose?(): Promise<void> | void;
}

/** Makes a host on which nothing has happened yet. */
export type HostFactory = () => Promise<Host> | Host;

export interface IpamConformanceOptions {
  /** How many addresses are asked for at once in the check of parallel calls. Default: 100. */
  readonly parallelAddresses?: number;
  /** Whether IPv6 pools can be asked for. Default: true. */
  readonly ipv6?: boolean;
}

export interface NetworkConformanceOptions {
  /** `-o`: what the driver needs to have, given to each network. */
  readonly networkOptions?: Readonly<Record<string, string>>;
  /** Sets of `-o` that CreateNetwork must refuse with a message that names the option. */
  readonly refusedOptions?: readonly Readonly<Record<string, string>>[];
  /** Whether networks can have IPv6 beside IPv4. Default: true. */
  readonly ipv6?: boolean;
  /** Whether networks with `networkOptions` can be internal; where not, they have to be refused. Default: true. */
  readonly internal?: boolean;
  /** Whether a container can have a MAC address that its user chose. Default: true. */
  readonly chosenMac?: boolean;
  /** How many containers start at once in the check of parallel calls. Default: 100. */
  readonly parallelEndpoints?: number;
}
