// Who knew another MAC address for an address takes the announced one, by IPv4 and IPv6, and nobody else's entry changes.
import { openKernel, type Kernel, type Link } from "./index.ts";
import { inOwnNamespace, makeNetns, type Netns } from "./testing/index.ts";
import { output } from "./testing/command.ts";

const [OLD, NEW] = ["02:42:0a:28:00:04", "02:42:0a:28:00:05"];

inOwnNamespace("an announcement", () => {
  let kernel: Kernel;
  let sandbox: Netns;
  let bridge: Link;
  beforeEach(async () => {
    kernel = await openKernel();
    sandbox = await makeNetns();
    bridge = await kernel.links.createBridge({ name: "pt-a", up: true });
    await kernel.links.createVeth({ name: "pv-a", master: "pt-a", up: true, peer: { name: "pc-a" } });
    await output(`ip link set pc-a netns ${sandbox.name}`);
    await sandbox.run("ip address add 10.40.0.2/24 dev pc-a");
    await sandbox.run("ip address add fd00:40::2/64 dev pc-a nodad");
    await sandbox.run("ip link set pc-a up");
  });
  afterEach(async () => {
    await kernel.links.remove("pv-a");
    await kernel.links.remove("pt-a");
    await sandbox[Symbol.asyncDispose]();
    await kernel[Symbol.asyncDispose]();
  });

  const knows = (address: string) => sandbox.run(`ip neigh show ${address} dev pc-a`);

  it.each([
    ["10.40.0.5", "10.40.0.6"],
    ["fd00:40::5", "fd00:40::6"],
  ])("of %s is believed by whoever knew another MAC address", async (address, other) => {
    for (const each of [address, other])
      await sandbox.run(`ip neigh replace ${each} lladdr ${OLD} dev pc-a nud reachable`);
    await kernel.neighbours.announce(bridge, { address, mac: NEW });
    for (const end = Date.now() + 5_000; !(await knows(address)).includes(NEW) && Date.now() < end;);
    expect(await knows(address)).toContain(`lladdr ${NEW}`);
    expect(await knows(other)).toContain(`lladdr ${OLD}`);
  });

  it("on a link that is gone is refused, and names it", async () => {
    const gone = { name: "pt-gone", index: 9_999 };
    const announcing = kernel.neighbours.announce(gone, { address: "10.40.0.5", mac: NEW });
    await expect(announcing).rejects.toMatchObject({ device: "pt-gone", code: "ENXIO" });
  });
});
