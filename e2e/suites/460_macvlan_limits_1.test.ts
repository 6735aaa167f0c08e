// Limits of what containers on the LAN receive and send, as packets feel them under real dockerds. They are set in the
// containers' namespaces, which before Docker 28 are made later.
import { addressIn, execIn, runContainer } from "../lab/containers.ts";
import type { Host } from "../lab/host.ts";
import { onUnderlay } from "../lab/lan.ts";
import { driverOf, onEveryEngine } from "../lab/suite.ts";
import { eventually } from "../lab/wait.ts";

const driver = driverOf("macvlan");
const unlike = "the built-in driver has no limits";
const BYTES = 1_000_000;
/** At 8 Mbit/s, a million bytes a second, with a burst of 32 KiB; no clock is that exact. */
const LEAST_SECONDS = 0.9;
const LIMIT = "8mbit";

const create = (host: Host, ...more: string[]) =>
  host.docker("network", "create", "-d", driver, ...onUnderlay(), ...more);

const getting = (from: string) =>
  `{ time -p wget -q -T 30 -O- http://${from}/big >/tmp/big; } 2>&1 && wc -c < /tmp/big`;

function seconds(told = ""): number {
  expect(told).toContain(String(BYTES));
  return Number(/real\s+([\d.]+)/.exec(told)?.[1]);
}

const offerIn = (host: Host, container: string) =>
  host.docker("exec", container, "sh", "-c", `head -c ${BYTES} /dev/zero > /www/big`);

/** How long one container takes to get BYTES from another. */
async function secondsToGet(host: Host, to: string, from: string): Promise<number> {
  return seconds(await execIn(host, to, "sh", "-c", getting(await addressIn(host, "lan", from))));
}

/** As the program tc shows it inside. */
async function buckets(host: Host, container: string): Promise<number> {
  const told = await host.must([...(await host.inNetworkOf(container)), "tc", "qdisc", "show"]);
  return told.match(/qdisc tbf/g)?.length ?? 0;
}

async function links(host: Host, container: string): Promise<string> {
  return (await execIn(host, container, "ls", "/sys/class/net")) ?? "";
}

onEveryEngine(
  "limits on the LAN",
  ({ pluginRow, engine }) => {
    const is28 = engine.version.startsWith("28");

    pluginRow(unlike, "hold from a container's first packet on", async (host) => {
      await create(host, "-o", `portolan.rate.in=${LIMIT}`, "lan");
      await runContainer(host, "bergen", "--network", "lan");
      await offerIn(host, "bergen");
      const script = getting(await addressIn(host, "lan", "bergen"));
      const told = await host.docker("run", "--rm", "--network", "lan", "busybox", "sh", "-c", script);
      expect(seconds(told)).toBeGreaterThan(LEAST_SECONDS);
    });

    pluginRow(unlike, "are one container's own, and leave nothing in it when it is disconnected", async (host) => {
      await create(host, "lan");
      await host.docker("network", "create", "--subnet", "10.99.0.0/24", "inside");
      await runContainer(host, "bergen", "--network", "lan");
      await runContainer(host, "lubeck", "--network", "inside");
      const limits = ["in", "out"].flatMap((way) => ["--driver-opt", `portolan.rate.${way}=${LIMIT}`]);
      await host.docker("network", "connect", ...limits, "lan", "lubeck");
      for (const container of ["lubeck", "bergen"]) await offerIn(host, container);
      expect(await secondsToGet(host, "lubeck", "bergen")).toBeGreaterThan(LEAST_SECONDS);
      expect(await secondsToGet(host, "bergen", "lubeck")).toBeGreaterThan(LEAST_SECONDS);
      await host.docker("network", "disconnect", "lan", "lubeck");
      expect((await links(host, "lubeck")).split("\n")).toEqual(["eth0", "lo"]);
    });

    if (is28) {
      pluginRow(
        unlike,
        "hold back what a network's containers receive, and what they send (28 only: which way is the kernel's business)",
        async (host) => {
          for (const way of ["in", "out"]) {
            await create(host, "-o", `portolan.rate.${way}=${LIMIT}`, "lan");
            for (const name of ["lubeck", "bergen"]) await runContainer(host, name, "--network", "lan");
            await offerIn(host, "bergen");
            expect(await secondsToGet(host, "lubeck", "bergen")).toBeGreaterThan(LEAST_SECONDS);
            await host.docker("rm", "-f", "lubeck", "bergen");
            await host.docker("network", "rm", "lan");
          }
        },
      );
    }

    pluginRow(
      unlike,
      "hold after the driver was killed and they were taken away, and after the container's restart",
      async (host) => {
        await create(host, "-o", `portolan.rate.in=${LIMIT}`, "-o", `portolan.rate.out=${LIMIT}`, "lan");
        await runContainer(host, "bergen", "--network", "lan");
        await eventually("the limits hold", async () => (await buckets(host, "bergen")) === 2);
        await host.stopPlugin(driver, "SIGKILL");
        const inside = await host.inNetworkOf("bergen");
        await host.must([...inside, "tc", "qdisc", "delete", "dev", "eth0", "root"]);
        const helper = (await links(host, "bergen")).split("\n").find((name) => name.startsWith("pr"));
        await host.must([...inside, "ip", "link", "delete", helper ?? ""]);
        expect(await buckets(host, "bergen")).toBe(0);
        await host.startPlugin(driver);
        await eventually("the limits hold again", async () => (await buckets(host, "bergen")) === 2);
        await host.docker("restart", "-t", "1", "bergen");
        await runContainer(host, "lubeck", "--network", "lan");
        await offerIn(host, "bergen");
        expect(await secondsToGet(host, "lubeck", "bergen")).toBeGreaterThan(LEAST_SECONDS);
      },
    );
  },
  { driver },
);
