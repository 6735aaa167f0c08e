// The wire between the hosts: a bridge in a namespace of its own, which is also their router, and a server beyond it.
import { join } from "node:path";
import { hold, ip, type Holder } from "./namespaces.ts";

// Documentation addresses and a ULA prefix: Docker's own pools never choose them.
const IPV4 = "198.51.100";
const IPV6 = "fd00:120:";
const SERVER = 2;
const FIRST_HOST = 11;
/** It routes nothing, whatever a new namespace of this machine does: what has no place on the wire is dropped in silence. */
const SWITCH_ON = "echo 0 >/proc/sys/net/ipv4/ip_forward; echo ready; exec sleep infinity";

/** Where something is plugged into the underlay. */
export interface Place {
  readonly ipv4: string;
  readonly ipv6: string;
}

function place(number: number): Place {
  return { ipv4: `${IPV4}.${number}`, ipv6: `${IPV6}:${number}` };
}

/** A machine has the same network card after a reboot; its neighbours would not ask for another one for half a minute. */
function macOf(ipv4: string): string {
  const bytes = ipv4.split(".").map((byte) => Number(byte).toString(16).padStart(2, "0"));
  return ["02", "00", ...bytes].join(":");
}

export class Underlay implements AsyncDisposable {
  readonly #switch: Holder;
  readonly #server: Holder;
  #ports = 0;
  /** The server outside every host, see outside.ts for what it serves. It knows no route to any container. */
  readonly server = place(SERVER);

  private constructor(bridge: Holder, server: Holder) {
    this.#switch = bridge;
    this.#server = server;
  }

  /** @param log file descriptor for what goes wrong in its processes */
  static async open(log: number): Promise<Underlay> {
    const bridge = await hold(["--net"], ["sh", "-c", SWITCH_ON], log);
    await ip(
      bridge.pid,
      "link set lo up",
      "link add br0 type bridge forward_delay 0 mcast_snooping 0",
      `addr add ${place(1).ipv4}/24 dev br0`,
      `addr add ${place(1).ipv6}/64 dev br0 nodad`,
      "link set br0 up",
    );
    const server = await hold(["--net"], [process.execPath, join(import.meta.dirname, "outside.ts")], log);
    const underlay = new Underlay(bridge, server);
    await underlay.#plug(server.pid, "server", underlay.server);
    return underlay;
  }

  /** Gives process `pid`'s network namespace an eth0 on the underlay, with a default route for both families. */
  async plug(pid: number, name: string): Promise<Place> {
    const mine = place(FIRST_HOST + this.#ports++);
    await this.replug(pid, name, mine);
    return mine;
  }

  /** As `plug`, at the place that the host had before it was switched off. */
  async replug(pid: number, name: string, mine: Place): Promise<void> {
    await this.#plug(pid, name, mine);
    await ip(pid, `route add default via ${place(1).ipv4}`, `route add default via ${place(1).ipv6}`);
  }

  /** A command as one of the server's, for what only some suites want served. */
  inServer(argv: readonly string[]): readonly [string, ...string[]] {
    return ["nsenter", `--net=/proc/${this.#server.pid}/ns/net`, "--", ...argv];
  }

  async #plug(pid: number, name: string, { ipv4, ipv6 }: Place): Promise<void> {
    await ip(
      this.#switch.pid,
      `link add u-${name} type veth peer name eth0 address ${macOf(ipv4)} netns ${pid}`,
      `link set u-${name} master br0 up`,
    );
    await ip(
      pid,
      "link set lo up",
      `addr add ${ipv4}/24 dev eth0`,
      `addr add ${ipv6}/64 dev eth0 nodad`,
      "link set eth0 up",
    );
  }

  /** Takes a host's port out. The kernel does that by itself some time after the host has died; a reboot cannot wait. */
  async unplug(name: string): Promise<void> {
    await ip(this.#switch.pid, `link del u-${name}`).catch((error: unknown) => {
      // ip knows it by name and the kernel by number: it may be gone before the one look or between the two.
      if (!/Cannot find device|No such device/.test(String(error))) throw error;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.kill();
    await this.#switch.kill();
  }
}
