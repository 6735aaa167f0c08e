// The hardware below a link, as a folder like sysfs tells of it.
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cardsBelow, machine } from "./hardware.ts";

let sys: string;
beforeEach(async () => {
  sys = await mkdtemp(join(tmpdir(), "portolan-sys-"));
});
afterEach(() => rm(sys, { recursive: true }));

async function make(...paths: readonly string[]): Promise<void> {
  for (const path of paths) await mkdir(join(sys, path), { recursive: true });
}

it("is the link's own, with the driver of the kernel's", async () => {
  await make("class/net/eth0/device", "class/net/wlan0/phy80211");
  await symlink("../../../bus/virtio/drivers/virtio_net", join(sys, "class/net/eth0/device/driver"));
  const plain = { isWireless: false, isVirtualFunction: false };
  expect(await cardsBelow("eth0", sys)).toEqual([{ ...plain, name: "eth0", driver: "virtio_net" }]);
  expect(await cardsBelow("wlan0", sys)).toEqual([{ ...plain, name: "wlan0", isWireless: true }]);
  expect(await cardsBelow("eth7", sys)).toEqual([]);
});

it("is that of the ports of a bond below a VLAN", async () => {
  await make("class/net/bond0.5/lower_bond0", "class/net/bond0/lower_eth0", "class/net/bond0/lower_eth1");
  await make("class/net/eth0/device/physfn", "class/net/eth1");
  const cards = await cardsBelow("bond0.5", sys);
  expect(cards.map(({ name, isVirtualFunction }) => [name, isVirtualFunction])).toEqual([
    ["eth0", true],
    ["eth1", false],
  ]);
});

it("is of the machine whose name the firmware tells, and of none where it tells nothing", async () => {
  expect(await machine(sys)).toEqual({ vendor: "", product: "" });
  await make("class/dmi/id");
  for (const [name, text] of [
    ["sys_vendor", "Amazon EC2\n"],
    ["product_name", "m5.large\n"],
  ] as const)
    await writeFile(join(sys, "class/dmi/id", name), text);
  expect(await machine(sys)).toEqual({ vendor: "Amazon EC2", product: "m5.large" });
});
