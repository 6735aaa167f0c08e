// The state behind the fake kernel: one network namespace in memory, and the gate that every change passes.
import { CLOSED, KernelError } from "../kernel-error.ts";
import type { Link, Route } from "../kernel.ts";
import type { Stacking } from "../stacked-links.ts";

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };

export interface FakeLink extends Mutable<Link> {
  /** Set on ports of a bridge only. */
  readonly port: { isolated: boolean; hairpin: boolean; learning: boolean; flood: boolean };
  addresses: string[];
  /** Permanent ones: MAC addresses by address. */
  readonly neighbours: Map<string, string>;
  /** Far ends by MAC address; undefined of what is behind a port that has none. */
  readonly stations: Map<string, string | undefined>;
  /** Far ends that get what is for stations that it does not know. */
  readonly defaults: Set<string>;
  /** Of a link that hangs on the one whose index is `peer`. */
  readonly stacking?: Stacking;
  /** What it was called before dockerd moved it into a sandbox. */
  homeName?: string;
}

const emptyTables = (): Pick<FakeLink, "addresses" | "neighbours" | "stations" | "defaults"> => ({
  addresses: [],
  neighbours: new Map(),
  stations: new Map(),
  defaults: new Set(),
});

export interface FakeHostOptions {
  /**
   * Called before each step that changes something, with the step's name as in `create bridge pt-abc`. What it throws is what
   * the step throws, and nothing has changed then: a kernel's refusal, or the process's death.
   */
  readonly onStep?: (operation: string) => void;
  /** Settings beside those that every host has, or other values for those. */
  readonly sysctls?: Readonly<Record<string, string>>;
  /** Of the first link, `lo`. */
  readonly firstIndex?: number;
}

export class FakeHost {
  /** By name. */
  readonly links = new Map<string, FakeLink>();
  /** Links that hang on one of ours, in sandboxes: by the sandboxes' paths. */
  readonly sandboxes = new Map<string, FakeHost>();
  readonly sysctls: Map<string, string>;
  /** Routes beside those of the addresses. They go with their links. */
  readonly routes: Route[] = [];
  /** The steps that changed something, in order. */
  readonly steps: string[] = [];
  readonly #onStep: (operation: string) => void;
  #nextIndex: number;
  #closed = false;

  constructor({ onStep = () => undefined, sysctls = {}, firstIndex = 1 }: FakeHostOptions) {
    this.#nextIndex = firstIndex;
    this.#onStep = onStep;
    this.sysctls = new Map(Object.entries({ ...HOST_SYSCTLS, ...sysctls }));
    this.addLink({ name: "lo", kind: "", mac: "00:00:00:00:00:00", mtu: 65536, up: true });
    this.links.get("lo")?.addresses.push("127.0.0.1/8", "::1/128");
  }

  /** What every method starts with. It waits a turn, so that a caller that forgot to await is found out. */
  async enter(operation: string, device?: string): Promise<void> {
    await Promise.resolve();
    if (this.#closed) throw new KernelError({ operation, device, ...CLOSED });
  }

  /** Called when all checks are passed, right before the change. */
  step(operation: string): void {
    this.#onStep(operation);
    this.steps.push(operation);
  }

  addLink(
    properties: Omit<FakeLink, "index" | "peerElsewhere" | "port" | keyof ReturnType<typeof emptyTables>>,
  ): FakeLink {
    const index = this.#nextIndex;
    this.#nextIndex += 1;
    const port = { isolated: false, hairpin: false, learning: true, flood: true };
    const link: FakeLink = { ...properties, index, peerElsewhere: false, port, ...emptyTables() };
    this.links.set(link.name, link);
    for (const [setting, value] of Object.entries(LINK_SYSCTLS))
      this.sysctls.set(linkSysctl(setting, link.name), value);
    return link;
  }

  readonly #watchers = new Set<() => void>();

  watch(changed: () => void): Disposable {
    this.#watchers.add(changed);
    return { [Symbol.dispose]: () => void this.#watchers.delete(changed) };
  }

  /** Something happened to the host's own links. */
  tellWatchers(): void {
    for (const changed of this.#watchers) setImmediate(changed);
  }

  /** Takes a link out of this namespace: it is gone, or another namespace has it. */
  dropLink(link: FakeLink): void {
    this.links.delete(link.name);
    const others = this.routes.filter((route) => route.link !== link.name);
    this.routes.splice(0, this.routes.length, ...others);
    for (const setting of Object.keys(LINK_SYSCTLS)) this.sysctls.delete(linkSysctl(setting, link.name));
    for (const other of this.links.values()) if (other.master === link.index) delete other.master;
  }

  /** As the kernel does when a link is removed: what hangs on it goes along, wherever it lives. */
  dropStackedOn(parent: FakeLink): void {
    for (const link of this.everyLink()) {
      if (!link.stacking || link.peer !== parent.index) continue;
      if (this.links.get(link.name) === link) this.dropLink(link);
      for (const inside of this.sandboxes.values()) if (inside.links.get(link.name) === link) inside.dropLink(link);
      this.dropStackedOn(link);
    }
  }

  /** Made when it is asked for first. */
  sandboxAt(path: string): FakeHost {
    const inside = this.sandboxes.get(path) ?? new FakeHost({ onStep: this.#onStep, firstIndex: SANDBOX_INDEX });
    this.sandboxes.set(path, inside);
    return inside;
  }

  /** Into a sandbox, which is there from the first one on. */
  moveInto(path: string, link: FakeLink, name?: string): void {
    const inside = this.sandboxAt(path);
    this.dropLink(link);
    link.homeName = link.name;
    link.name = name ?? `eth${inside.links.size - 1}`;
    link.up = false;
    delete link.isShaped;
    inside.links.set(link.name, link);
  }

  /** Of this namespace and of the sandboxes. */
  everyLink(): readonly FakeLink[] {
    return [...this.links.values(), ...this.sandboxes.values().flatMap((inside) => [...inside.links.values()])];
  }

  linkByIndex(index: number | undefined): FakeLink | undefined {
    return this.links.values().find((link) => link.index === index);
  }

  close(): void {
    this.#closed = true;
  }
}

/** Each namespace counts for itself; here no link is to be taken for the parent of one that hangs on another namespace's. */
const SANDBOX_INDEX = 10_001;

/** The path has the link's name in the place of `*`. */
const LINK_SYSCTLS: Readonly<Record<string, string>> = {
  "net/ipv4/conf/*/forwarding": "0",
  "net/ipv4/conf/*/route_localnet": "0",
  "net/ipv4/conf/*/rp_filter": "0",
  "net/ipv4/conf/*/arp_announce": "0",
  "net/ipv4/conf/*/arp_filter": "0",
  "net/ipv4/conf/*/arp_ignore": "0",
  "net/ipv4/conf/*/proxy_arp": "0",
  "net/ipv6/conf/*/disable_ipv6": "0",
  "net/ipv6/conf/*/forwarding": "0",
  "net/ipv6/conf/*/accept_ra": "1",
  "net/ipv6/conf/*/addr_gen_mode": "0",
  "net/ipv6/conf/*/autoconf": "1",
  "net/ipv6/conf/*/proxy_ndp": "0",
};

const HOST_SYSCTLS: Readonly<Record<string, string>> = {
  "net/ipv4/ip_forward": "0",
  "net/ipv4/ip_local_port_range": "32768\t60999",
  "net/bridge/bridge-nf-call-iptables": "1",
  "net/bridge/bridge-nf-call-ip6tables": "1",
  ...Object.fromEntries(
    Object.entries(LINK_SYSCTLS).flatMap(([setting, value]) =>
      ["all", "default"].map((group) => [linkSysctl(setting, group), value]),
    ),
  ),
};

function linkSysctl(setting: string, link: string): string {
  return setting.replace("*", link);
}
