// The root file system of a host: a Debian release with the Docker that it ships, made once and kept.
import { rm } from "node:fs/promises";
import { cached, digest } from "../../tools/cache.ts";
import { must, run } from "./command.ts";
import type { Engine } from "./engines.ts";

/** What every host has installed beside Docker: what the plugins need, and what the suites look with. */
const packages = [
  "docker.io",
  "libnftables1",
  "iptables",
  "nftables",
  "iproute2",
  "iputils-ping",
  "procps",
  "kmod",
  "conntrack",
  "curl",
  "tcpdump",
  "busybox-static",
  "udhcpc",
];

/** What the engine's tree is called in the cache, whether it is there or not. */
export function treeName(engine: Engine): string {
  const inputs = { recipe: 1, arch: process.arch, include: included(engine), ...engine };
  return `${engine.suite}-${digest(inputs)}`;
}

function included(engine: Engine): readonly string[] {
  const client = engine.client === "docker-cli" ? ["docker-cli"] : [];
  return [...packages, ...client, ...(engine.packages ?? [])];
}

/** The path of the engine's tree; the first call takes about half a minute. */
export function tree(engine: Engine): Promise<string> {
  return cached(`trees/${treeName(engine)}`, async (path) => {
    await must(
      [
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        `--include=${included(engine).join(",")}`,
        ...engine.aptOptions.map((option) => `--aptopt=${option}`),
        // Several trees are never one: no machine id, no resolver and no host name of the machine that made them.
        "--customize-hook=rm -f $1/etc/machine-id $1/etc/resolv.conf $1/etc/hostname",
        engine.suite,
        path,
      ],
      { timeout: 900 },
    );
    await refuseAnotherVersion(engine, path);
  });
}

/** Debian's testing moves on: a tree with a Docker that nobody asked for would pass or fail for the wrong reason. */
async function refuseAnotherVersion({ version, suite }: Engine, path: string): Promise<void> {
  const { stdout } = await run(["chroot", path, "dockerd", "--version"]);
  if (stdout.includes(`version ${version},`) || stdout.includes(`version ${version}+`)) return;
  await rm(path, { recursive: true, force: true });
  throw new Error(
    `Debian ${suite} has ${JSON.stringify(stdout.trim())} where Docker ${version} was expected: ` +
      `name the new version in e2e/lab/engines.ts, or copy the tree from a machine that has it in its cache`,
  );
}
