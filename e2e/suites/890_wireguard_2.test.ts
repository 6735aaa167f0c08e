// What the kernel does with a VXLAN inside a WireGuard tunnel, made by hand between two hosts: what an encrypted overlay
// network stands on. Docker's own bridge has the containers.
import { readFile } from "node:fs/promises";
import { must } from "../lab/command.ts";
import { addressIn, expectReach, fetchFrom, runContainer } from "../lab/containers.ts";
import type { Host } from "../lab/host.ts";
import { onHosts } from "../lab/several.ts";
import { eventually } from "../lab/wait.ts";

const NETWORK = "hansa";
const SUBNET = "10.89.0.0/24";
const PORT = 51820;
/** The wire carries 1500 bytes. WireGuard over IPv4 takes 60 (20 + 8 + 32), a VXLAN over IPv4 in it 50 (14 + 8 + 8 + 20). */
const TUNNEL_MTU = 1500 - 60;
const SEGMENT_MTU = TUNNEL_MTU - 50;
/** What an echo request has before its data. */
const IPV4_AND_ICMP = 28;

const privateKeys = ["", ""];
const tunnelAddress = (number: number): string => `10.90.0.${number}`;

/** `wg` of the machine, in the network namespace of a host: the hosts' own trees do not have it. */
function wg(host: Host, words: readonly string[], input = ""): Promise<string> {
  // It opens /dev/stdin by name, which works for a pipe; Node gives it a socket.
  const piped = ["sh", "-c", 'cat | wg "$@"', "wg", ...words];
  return must(["nsenter", `--net=/proc/${host.pid}/ns/net`, "--", ...piped], { input });
}

async function allow(host: Host, peer: Host, number: number): Promise<void> {
  const key = await must(["wg", "pubkey"], { input: privateKeys[number - 1] ?? "" });
  const ends = ["endpoint", `${peer.address.ipv4}:${PORT}`, "allowed-ips", `${tunnelAddress(number)}/32`];
  await wg(host, ["set", "wg0", "peer", key, ...ends]);
}

/** A network of containers whose bridge has one more port: the VXLAN to the other host, through the tunnel. */
async function joinHosts(host: Host, number: number, peer: Host, peerNumber: number): Promise<void> {
  await host.must(["ip", "link", "add", "wg0", "mtu", `${TUNNEL_MTU}`, "type", "wireguard"]);
  await wg(host, ["set", "wg0", "listen-port", `${PORT}`, "private-key", "/dev/stdin"], privateKeys[number - 1]);
  await allow(host, peer, peerNumber);
  await host.must(["ip", "address", "add", `${tunnelAddress(number)}/24`, "dev", "wg0"]);
  await host.must(["ip", "link", "set", "wg0", "up"]);
  const range = ["--ip-range", `10.89.0.${number * 64}/26`, "--gateway", `10.89.0.${number * 64}`];
  const bridge = [
    "-o",
    "com.docker.network.bridge.name=br-hansa",
    "-o",
    `com.docker.network.driver.mtu=${SEGMENT_MTU}`,
  ];
  await host.docker("network", "create", "--subnet", SUBNET, ...range, ...bridge, NETWORK);
  const ends = ["local", tunnelAddress(number), "remote", tunnelAddress(peerNumber), "dstport", "4789"];
  await host.must(["ip", "link", "add", "vx0", "mtu", `${SEGMENT_MTU}`, "type", "vxlan", "id", "7", ...ends]);
  await host.must(["ip", "link", "set", "vx0", "master", "br-hansa", "up"]);
}

/** What tcpdump tells of a link of the host while `body` runs, the packets' text included. */
async function watching(host: Host, link: string, body: () => Promise<unknown>): Promise<string> {
  const tcpdump = await host.start(`tcpdump-${link}`, ["tcpdump", "-i", link, "-nnAl", "--immediate-mode"]);
  const said = (): Promise<string> => readFile(tcpdump.log, "utf8");
  await eventually("tcpdump listens", async () => (await said()).includes("listening on"));
  await body();
  await tcpdump.stop("SIGINT");
  return said();
}

onHosts(
  "a VXLAN inside a WireGuard tunnel",
  { needs: { hosts: 2, modules: ["wireguard", "vxlan"] } },
  ({ step, on }) => {
    let bergen: string;

    step("carries a network of containers from host to host", async () => {
      for (const number of [1, 2]) privateKeys[number - 1] = await must(["wg", "genkey"]);
      await joinHosts(on(1), 1, on(2), 2);
      await joinHosts(on(2), 2, on(1), 1);
      await runContainer(on(1), "lubeck", "--network", NETWORK);
      await runContainer(on(2), "bergen", "--network", NETWORK);
      bergen = await addressIn(on(2), NETWORK, "bergen");
      await expectReach(on(1), "lubeck", bergen);
    });

    step("shows the wire nothing but the tunnel: no frame of the VXLAN, no word of a container", async () => {
      const talk = async (): Promise<void> => expect(await fetchFrom(on(1), "lubeck", bergen)).toBe("bergen");
      expect(await watching(on(1), "wg0", talk)).toMatch(/VXLAN[^]*HTTP\/1\.\d 200 OK[^]*bergen/);
      const wire = await watching(on(1), "eth0", talk);
      expect(wire).toMatch(new RegExp(`\\.${PORT} > \\S+\\.${PORT}: UDP`));
      expect(wire).not.toMatch(/VXLAN|HTTP|bergen/);
    });

    step(`takes packets of ${SEGMENT_MTU} bytes in one piece over a wire of 1500, and not one byte more`, async () => {
      const lubeck = await on(1).inNetworkOf("lubeck");
      const ping = (bytes: number) =>
        on(1).exec([...lubeck, "ping", "-c1", "-W5", "-M", "do", "-s", `${bytes - IPV4_AND_ICMP}`, bergen]);
      const wire = await watching(on(1), "eth0", async () => {
        expect(await ping(SEGMENT_MTU)).toMatchObject({ code: 0 });
      });
      // A tunnel packet pads to 16 bytes, but never above the tunnel's MTU: 60 bytes more is the whole wire.
      expect(wire).toMatch(new RegExp(`\\.${PORT}: UDP, length ${1500 - 28}$`, "m"));
      expect(wire).not.toContain(": ip-proto-17"); // a later fragment
      const refused = await ping(SEGMENT_MTU + 1);
      expect(`${refused.stdout}${refused.stderr}`).toMatch(/message too long/i);
    });

    step("is silent as soon as a host takes back the other's key, and speaks again when it is allowed", async () => {
      const { code } = await on(1).tryDocker("exec", "lubeck", "ping", "-c1", "-W5", bergen);
      expect(code).toBe(0);
      const peer = await wg(on(2), ["show", "wg0", "peers"]);
      await wg(on(2), ["set", "wg0", "peer", peer, "remove"]);
      const lost = await on(1).tryDocker("exec", "lubeck", "ping", "-c2", "-W2", bergen);
      expect(lost.stdout).toContain("100% packet loss");
      await allow(on(2), on(1), 1);
      await eventually(
        "a ping",
        async () => (await on(1).tryDocker("exec", "lubeck", "ping", "-c1", "-W2", bergen)).code === 0,
        { within: 30, every: 500 },
      );
    });
  },
);
