// The real kernel keeps the contract; what only it can show is looked at with ip, bridge, nft and iptables.
import { openKernel } from "./open-kernel.ts";
import { output } from "./testing/command.ts";
import { kernelContract } from "./testing/kernel-contract.ts";
import { inOwnNamespace } from "./testing/own-namespace.ts";

inOwnNamespace("the real kernel", () => {
  kernelContract(async () => ({
    kernel: await openKernel(),
    nftFromOutside: async (commands) => {
      await output("nft -f -", commands);
    },
  }));
});
