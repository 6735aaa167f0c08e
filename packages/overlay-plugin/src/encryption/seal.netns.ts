// The rules that keep an encrypted network's packets in the tunnels, against real packets: here no tunnel is there at all,
// and the routes lead to the wire.
import { execFile } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { openKernel, type Kernel } from "@portolan/kernel";
import { inOwnNamespace, makeNetns, type Netns } from "@portolan/kernel/testing";
import { Seal } from "./seal.ts";

const run = promisify(execFile);

const SEALED = { vni: 77, port: 4789 };
const OPEN = { vni: 78, port: 4789 };

inOwnNamespace("an encrypted network's packets on the wire", () => {
  let kernel: Kernel;
  let far: Netns;

  /** A network of two ends over the wire: here on a bridge as ours are, there made by hand. */
  async function makeNetwork({ vni, port }: typeof SEALED): Promise<void> {
    const [bridge, vxlan] = [`br${vni}`, `vx${vni}`];
    await kernel.links.createBridge({ name: bridge, up: true });
    await kernel.addresses.add(bridge, `10.9.${vni}.1/24`);
    await kernel.links.createVxlan({ name: vxlan, vxlan: { vni, local: "::", port }, master: bridge, up: true });
    await far.run(`ip link add ${vxlan} type vxlan id ${vni} local 2001:db8::2 remote 2001:db8::1 dstport ${port}`);
    await far.run(`ip address add 10.9.${vni}.2/24 dev ${vxlan}`);
    await far.run(`ip link set ${vxlan} up`);
    const [{ address: mac }] = JSON.parse(await far.run(`ip -j link show ${vxlan}`)) as [{ readonly address: string }];
    const link = await kernel.links.get(vxlan);
    if (!link) throw new Error(`there is no ${vxlan}`);
    await kernel.stations.put(link, { mac, via: "2001:db8::2" });
    await kernel.neighbours.put((await kernel.links.get(bridge)) ?? link, { address: `10.9.${vni}.2`, mac });
    const own = await kernel.links.get(bridge);
    await far.run(`ip neigh add 10.9.${vni}.1 lladdr ${own?.mac ?? ""} dev ${vxlan} nud permanent`);
  }

  type Place = (program: string, ...words: string[]) => Promise<string>;
  const here: Place = async (program, ...words) => (await run(program, words)).stdout;
  const there: Place = (...words) => here("ip", "netns", "exec", far.name, ...words);

  /** Whether a datagram with so many bytes gets from end to end: what does is waited for, what does not is given a moment. */
  async function arrives(vni: number, from: Place, to: Place, bytes = 100, withinMs = 5_000): Promise<boolean> {
    const received = async () => {
      const [link] = JSON.parse(await to("ip", "-s", "-j", "link", "show", `vx${vni}`)) as [
        { readonly stats64: { readonly rx: { readonly packets: number } } },
      ];
      return link.stats64.rx.packets;
    };
    const before = await received();
    const address = `10.9.${vni}.${from === here ? 2 : 1}`;
    await from("bash", "-c", `head -c ${bytes} /dev/zero > /dev/udp/${address}/9`);
    const end = performance.now() + withinMs;
    while (performance.now() < end) {
      await sleep(20);
      if ((await received()) > before) return true;
    }
    return false;
  }
  const isKeptOut = async (vni: number, from: Place, to: Place, bytes = 100) =>
    !(await arrives(vni, from, to, bytes, 300));

  beforeEach(async () => {
    kernel = await openKernel();
    far = await makeNetns();
    await kernel.links.createVeth({ name: "w0", up: true, peer: { name: "w1" } });
    await here("ip", "link", "set", "w1", "netns", far.name);
    await far.run("ip address add 2001:db8::2/64 dev w1 nodad");
    await far.run("ip link set w1 up");
    await kernel.addresses.add("w0", "2001:db8::1/64");
    for (const network of [SEALED, OPEN]) await makeNetwork(network);
  });

  afterEach(async () => {
    await new Seal(kernel).remove();
    for (const { name, kind } of await kernel.links.list()) if (kind !== "") await kernel.links.remove(name);
    await far[Symbol.asyncDispose]();
    await kernel[Symbol.asyncDispose]();
  });

  it("neither come in nor go out, and those of a network that is not encrypted do, on the same port", async () => {
    for (const vni of [77, 78]) {
      expect(await arrives(vni, there, here)).toBe(true);
      expect(await arrives(vni, here, there)).toBe(true);
    }
    await new Seal(kernel).ensure([SEALED]);
    expect(await isKeptOut(77, there, here)).toBe(true);
    // The sender is refused at once, or its packet goes nowhere.
    expect(await isKeptOut(77, here, there).catch(() => true)).toBe(true);
    expect(await arrives(78, there, here)).toBe(true);
    expect(await arrives(78, here, there)).toBe(true);
  });

  it("do not come in in fragments either", async () => {
    // 1350 bytes inside make fragments on a wire of 1280.
    await there("ip", "link", "set", "w1", "mtu", "1280");
    expect(await arrives(78, there, here, 1350)).toBe(true);
    await new Seal(kernel).ensure([SEALED]);
    expect(await isKeptOut(77, there, here, 1350)).toBe(true);
  });

  it("are told from others by rules that are noticed to be gone", async () => {
    const seal = new Seal(kernel);
    expect(await seal.ensure([SEALED])).toBe(true);
    expect(await seal.ensure([SEALED])).toBe(false);
    await here("nft", "flush", "ruleset");
    expect(await seal.isIntact()).toBe(false);
    expect(await seal.ensure([SEALED])).toBe(true);
    expect(await seal.isIntact()).toBe(true);
    await seal.remove();
    expect(await seal.isIntact()).toBe(true);
  });
});
