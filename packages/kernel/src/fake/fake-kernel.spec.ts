// The fake kernel keeps the real one's contract, and does what only a fake one can.
import { KernelError } from "../kernel-error.ts";
import { kernelContract } from "../testing/kernel-contract.ts";
import { tunnelsContract } from "../testing/tunnels-contract.ts";
import { FakeKernel } from "./fake-kernel.ts";

describe("the fake kernel, as the real one,", () => {
  kernelContract(() => {
    const kernel = new FakeKernel();
    const nftFromOutside = (commands: string) => {
      kernel.nftables.runFromOutside(commands);
      return Promise.resolve();
    };
    return Promise.resolve({ kernel, nftFromOutside });
  });
});

describe("the fake kernel, as a real one with WireGuard,", () => {
  let kernel: FakeKernel;
  beforeEach(() => {
    kernel = new FakeKernel();
  });
  tunnelsContract(() => kernel);
});

describe("the fake kernel", () => {
  it("counts the steps that changed something", async () => {
    const kernel = new FakeKernel();
    await kernel.links.createBridge({ name: "pt-a" });
    await kernel.links.get("pt-a");
    await kernel.addresses.add("pt-a", "10.0.0.1/24");
    await kernel.addresses.add("pt-a", "10.0.0.1/24");
    await kernel.links.remove("pt-b");
    await kernel.nftables.run("add table inet pt");
    await kernel.sysctls.set("net/ipv4/ip_forward", "1");
    expect(kernel.steps).toEqual([
      "create bridge pt-a",
      "add address 10.0.0.1/24 to pt-a",
      "nft add table inet pt",
      "set sysctl net/ipv4/ip_forward to 1",
    ]);
  });

  it("fails at any step it is told to, and that step has changed nothing", async () => {
    const refused = new KernelError({ operation: "test", code: "ENOMEM" });
    const kernel = new FakeKernel({
      onStep(operation) {
        if (operation.startsWith("create veth")) throw refused;
      },
    });
    await kernel.links.createBridge({ name: "pt-a" });
    await expect(kernel.links.createVeth({ name: "v0", master: "pt-a", peer: { name: "p0" } })).rejects.toBe(refused);
    expect((await kernel.links.list()).map(({ name }) => name)).toEqual(["lo", "pt-a"]);
  });

  it("shows a veth whose peer went to a sandbox, and loses it when the sandbox ends", async () => {
    const kernel = new FakeKernel();
    const { peer } = await kernel.links.createVeth({ name: "v0", peer: { name: "p0" } });
    kernel.moveToSandbox("p0");
    expect(await kernel.links.get("p0")).toBeUndefined();
    expect(await kernel.links.get("v0")).toMatchObject({ peer, peerElsewhere: true });
    kernel.endSandboxOf("v0");
    expect(await kernel.links.get("v0")).toBeUndefined();
  });

  it("tells how a bridge port was set", async () => {
    const kernel = new FakeKernel();
    await kernel.links.createBridge({ name: "pt-a" });
    await kernel.links.createVeth({ name: "v0", master: "pt-a", peer: { name: "p0" } });
    await kernel.links.changePort("v0", { isolated: true });
    expect(kernel.port("v0")).toEqual({ isolated: true, hairpin: false, learning: true, flood: true });
  });

  it("has the routes and settings a test gives it", async () => {
    const kernel = new FakeKernel({ sysctls: { "net/ipv4/ip_forward": "1" } });
    kernel.routes.extra.push({ destination: "192.168.0.0/16", link: "eth0", table: 254 });
    expect(await kernel.sysctls.get("net/ipv4/ip_forward")).toBe("1");
    expect(await kernel.routes.list(4)).toEqual([{ destination: "192.168.0.0/16", link: "eth0", table: 254 }]);
  });
});
