// WireGuard under VXLAN between two namespaces on the hosts' wire, with nothing around it: no Docker, no bridge, no rules. What
// it carries is the most that an encrypted network of ts-overlay can.
import { must } from "../e2e/lab/command.ts";
import type { Lab } from "../e2e/lab/lab.ts";
import { hold, ip, type Holder } from "../e2e/lab/namespaces.ts";
import type { Way } from "./overlay-pair.ts";

const PORT = 5203;
const TUNNEL_PORT = 51_820;
/** As ts-overlay has them on a wire of 1500 bytes. */
const [TUNNEL_MTU, MTU] = [1440, 1370];
const ENDS = [1, 2] as const;
type End = (typeof ENDS)[number];

export class BareTunnel implements AsyncDisposable {
  readonly #held = new Map<End, Holder>();

  static async up(lab: Lab): Promise<BareTunnel> {
    await using undo = new AsyncDisposableStack();
    const tunnel = undo.use(new BareTunnel());
    const keys = new Map<End, string>();
    const places = new Map<End, string>();
    for (const end of ENDS) {
      const holder = await hold(["--net"], ["sh", "-c", "echo ready; exec sleep infinity"], 2);
      tunnel.#held.set(end, holder);
      places.set(end, (await lab.underlay.plug(holder.pid, `bare${end}`)).ipv4);
      keys.set(end, await makeKey(holder.pid));
    }
    for (const end of ENDS) {
      const other = end === 1 ? 2 : 1;
      const pid = tunnel.#pid(end);
      const words = ["peer", keys.get(other) ?? "", "endpoint", `${places.get(other) ?? ""}:${TUNNEL_PORT}`];
      await must([...inNetwork(pid), "wg", "set", "wg0", ...words, "allowed-ips", `${inside(other)}/128`]);
      await ip(
        pid,
        `addr add ${inside(end)}/64 dev wg0 nodad`,
        `link set wg0 mtu ${TUNNEL_MTU} up`,
        `link add vx0 mtu ${MTU} type vxlan id 1 dstport 4789 local ${inside(end)} remote ${inside(other)}`,
        `addr add ${address(end)}/24 dev vx0`,
        `link set vx0 up`,
      );
    }
    undo.move();
    return tunnel;
  }

  get way(): Way {
    const namespace = (end: End) => `/proc/${this.#pid(end)}/ns/net`;
    return { server: namespace(1), client: namespace(2), address: address(1), port: PORT };
  }

  #pid(end: End): number {
    const holder = this.#held.get(end);
    if (!holder) throw new Error(`end ${end} of the tunnel is not there`);
    return holder.pid;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const holder of this.#held.values()) await holder.kill();
  }
}

const inNetwork = (pid: number): string[] => ["nsenter", `--net=/proc/${pid}/ns/net`, "--"];
const inside = (end: End) => `fd91::${end}`;
const address = (end: End) => `10.91.3.${end}`;

/** Makes the link, too. @returns the public key */
async function makeKey(pid: number): Promise<string> {
  await ip(pid, "link add wg0 type wireguard");
  const make = `wg genkey | wg set wg0 listen-port ${TUNNEL_PORT} private-key /dev/stdin && wg show wg0 public-key`;
  return (await must([...inNetwork(pid), "sh", "-c", make])).trim();
}
