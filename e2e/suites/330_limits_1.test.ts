// Limits of what containers receive and send, as packets feel them under real dockerds.
import { execIn, runContainer } from "../lab/containers.ts";
import type { Host } from "../lab/host.ts";
import { driver, onEveryEngine } from "../lab/suite.ts";

const create = (host: Host, ...more: string[]) => host.docker("network", "create", "-d", driver, ...more);
const BYTES = 2_000_000;
/** At 8 Mbit/s, a million bytes a second, with a burst of 32 KiB; no clock is that exact. */
const LEAST_SECONDS = 1.9;
const LIMIT = "8mbit";

/** How long one container takes to get BYTES from another. */
async function secondsToGet(host: Host, to: string, from: string): Promise<number> {
  await host.docker("exec", from, "sh", "-c", `test -e /www/big || head -c ${BYTES} /dev/zero > /www/big`);
  const script = `time -p wget -q -T 30 -O- http://${from}/big 2>&1 >/tmp/big && wc -c < /tmp/big`;
  const told = (await execIn(host, to, "sh", "-c", `{ ${script}; } 2>&1`)) ?? "";
  expect(told).toContain(String(BYTES));
  return Number(/real\s+([\d.]+)/.exec(told)?.[1]);
}

async function limitsOf(host: Host): Promise<unknown> {
  const answer = await host.get(`/run/portolan/${driver}.sock`, "/status");
  const { networks } = JSON.parse(answer?.body ?? "") as {
    networks: readonly { endpoints: readonly { limits?: unknown }[] }[];
  };
  return networks.flatMap(({ endpoints }) => endpoints.flatMap(({ limits }) => limits ?? []));
}

const unlike = "the built-in driver has no limits";

onEveryEngine("limits", ({ pluginRow }) => {
  pluginRow(unlike, "hold back what a network's containers receive, and what they send", async (host) => {
    for (const way of ["in", "out"]) {
      await create(host, "-o", `portolan.rate.${way}=${LIMIT}`, "hansa");
      for (const name of ["lubeck", "bergen"]) await runContainer(host, name, "--network", "hansa");
      expect(await secondsToGet(host, "lubeck", "bergen")).toBeGreaterThan(LEAST_SECONDS);
      await host.docker("rm", "-f", "lubeck", "bergen");
      await host.docker("network", "rm", "hansa");
    }
  });

  pluginRow(unlike, "are one container's own when it is connected or started with them", async (host) => {
    await create(host, "hansa");
    await runContainer(host, "bergen", "--network", "hansa");
    await runContainer(host, "lubeck", "--network", "none");
    const limits = ["in", "out"].flatMap((way) => ["--driver-opt", `portolan.rate.${way}=${LIMIT}`]);
    await host.docker("network", "disconnect", "none", "lubeck");
    await host.docker("network", "connect", ...limits, "hansa", "lubeck");
    expect(await secondsToGet(host, "lubeck", "bergen")).toBeGreaterThan(LEAST_SECONDS);
    expect(await secondsToGet(host, "bergen", "lubeck")).toBeGreaterThan(LEAST_SECONDS);
    const limit = { bitsPerSecond: 8e6, burst: 32_768 };
    expect(await limitsOf(host)).toEqual([{ in: limit, out: limit }]);
    await host.docker("rm", "-f", "lubeck");
    await runContainer(host, "riga", "--network", `name=hansa,driver-opt=portolan.rate.in=${LIMIT}`);
    expect(await limitsOf(host)).toEqual([{ in: limit }]);
    expect(await secondsToGet(host, "riga", "bergen")).toBeGreaterThan(LEAST_SECONDS);
  });

  pluginRow(unlike, "hold after the driver was killed, for containers old and new", async (host) => {
    await create(host, "-o", `portolan.rate.out=${LIMIT}`, "hansa");
    await runContainer(host, "bergen", "--network", "hansa");
    await host.stopPlugin(driver, "SIGKILL");
    await host.must(["sh", "-c", "for l in /sys/class/net/pi*; do ip link delete ${l##*/}; done"]);
    await host.startPlugin(driver);
    await runContainer(host, "lubeck", "--network", "hansa");
    expect(await secondsToGet(host, "lubeck", "bergen")).toBeGreaterThan(LEAST_SECONDS);
    expect(await secondsToGet(host, "bergen", "lubeck")).toBeGreaterThan(LEAST_SECONDS);
  });

  pluginRow(unlike, "are refused when they are none, and nothing is left of the container's link", async (host) => {
    const bad = await host.tryDocker("network", "create", "-d", driver, "-o", "portolan.rate.in=10mbps", "hansa");
    expect(bad.stderr).toContain('option "portolan.rate.in": "10mbps" is not allowed. Give a rate such as');
    await create(host, "hansa");
    await runContainer(host, "lubeck", "--network", "none");
    await host.docker("network", "disconnect", "none", "lubeck");
    const options = ["--driver-opt", "portolan.burst.in=32k"];
    const { stderr } = await host.tryDocker("network", "connect", ...options, "hansa", "lubeck");
    expect(stderr).toContain("is of no use without a rate");
  });
});
