// Guards a file of tests that change the network: they run in a namespace of their own and leave it as they found it.
import { mkdir } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { output } from "./command.ts";
import { networkState, type NetworkState } from "./network-state.ts";

/** Namespaces and their veths go some time after the last that used them. */
const PATIENCE_MS = 3000;

/**
 * A block of tests, as `describe`, for `*.netns.ts` files. Refuses to run in the machine's own network namespace, brings
 * loopback up, and after each test, when the block's own `afterEach` are through, fails it if links, addresses, routes, rules,
 * neighbours, the ruleset or settings are not as before.
 *
 * The whole jest process has to be in the namespace (`npm run test:netns` starts it with `unshare`): `setns` in a running Node
 * would move one thread, and the others, which do the work of the asynchronous calls, would stay where they were.
 */
export function inOwnNamespace(name: string, tests: () => void): void {
  describe("in a network namespace:", () => {
    let before: NetworkState | undefined;

    beforeAll(async () => {
      await refuseTheMachines();
      await output("ip link set lo up");
      // `ip netns` leaves files in /run/netns; in a file system of our own they vanish with us, even when we are killed.
      await mkdir("/run/netns", { recursive: true });
      await output("mount -t tmpfs portolan-tests /run/netns");
    });

    afterAll(async () => {
      await output("umount --lazy /run/netns");
    });

    beforeEach(async () => {
      before = await networkState();
    });

    afterEach(async () => {
      if (!before) return;
      let after = await networkState();
      for (const end = Date.now() + PATIENCE_MS; !isSame(before, after) && Date.now() < end;) {
        await sleep(100);
        after = await networkState();
      }
      expect(after).toEqual(before);
    });

    // jest runs the afterEach of one block in the order they were written, but those of an inner block first.
    describe(name, tests);
  });
}

/** A fresh namespace has nothing but loopback; the machine's has its network card, or at least Docker's bridges. */
async function refuseTheMachines(): Promise<void> {
  const links = JSON.parse(await output("ip -j link show")) as readonly { readonly ifname: string }[];
  const others = links.map(({ ifname }) => ifname).filter((name) => name !== "lo");
  if (others.length > 0)
    throw new Error(
      `these tests need a network namespace of their own, and this one has ${others.join(", ")}: ` +
        "start them as root with `npm run test:netns`, which gives them one",
    );
}

const isSame = (a: NetworkState, b: NetworkState) => JSON.stringify(a) === JSON.stringify(b);
