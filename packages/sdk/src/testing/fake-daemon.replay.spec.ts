// What keeps the fake dockerd honest: given the commands of the recordings and a driver that behaves as the recorded
// one did, it must make the very calls that the real engines made, in their order, with their bodies.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LinkMove } from "./dockerd/book.ts";
import type { EngineVersion } from "./dockerd/engine.ts";
import { FakeDaemon } from "./fake-daemon.ts";
import { isParallel, runCommand } from "./replay/docker-command.ts";
import { Numbering, recordedRequests, recordedSteps, withoutChance } from "./replay/recordings.ts";
import type { RecordedCommand } from "./replay/recordings.ts";
import { ScriptedDriver } from "./replay/scripted-driver.ts";

const ENGINES: EngineVersion[] = ["20.10", "26.1", "28.5"];

interface Scenario {
  readonly name: string;
  /** The scenario is left at the first command that matches: what follows is not dockerd's doing. */
  readonly until?: RegExp;
  readonly liveRestore?: boolean;
}

const SCENARIOS: Scenario[] = [
  { name: "create-default-ipam" },
  { name: "create-subnet" },
  { name: "create-opts" },
  { name: "create-internal" },
  { name: "create-ipv6" },
  { name: "create-ipam-driver" },
  { name: "gw-alloc-check" },
  { name: "run-addr" },
  { name: "run-ports" },
  // From here on the container itself ends and is restarted, at moments that depend on the machine.
  { name: "run-lifecycle", until: /--restart always/ },
  { name: "connect-disconnect" },
  { name: "join-variants" },
  { name: "plugin-errors" },
  { name: "error-shapes" },
  { name: "dockerd-restart" },
  // From here on the recorded driver had forgotten its network.
  { name: "dockerd-live-restore", until: /^stop plugin/, liveRestore: true },
  { name: "ipam-replay" },
];

/** Failures of the docker command itself, before dockerd heard of it. */
const REFUSED_BY_CLI = /unknown flag|invalid argument/;
/** Failures whose words are the container runtime's or the kernel's. */
const REFUSED_BY_KERNEL = /link by name|conflicts with existing route|default route|route for the gateway/;
/** Docker's own network for ports, which the fake dockerd keeps as a flag of each container. */
const GWBRIDGE = "docker_gwbridge";

function daemonFor(engine: EngineVersion, socket: string): FakeDaemon {
  // What a kernel would refuse: a link that is not there, and a route that the container already has by docker_gwbridge.
  const attach = ({ srcName, routes }: LinkMove): void => {
    if (srcName === "nosuchif") throw new Error(`failed to get link by name "${srcName}"`);
    if (routes.some(({ destination }) => destination === "128.0.0.0/1"))
      throw new Error("conflicts with existing route");
  };
  return new FakeDaemon({ socket, engine, links: { attach } });
}

const plain = (text: string): string =>
  text
    .replaceAll(/\([0-9a-f]{64}\)/g, "(ID)")
    .replaceAll(/\s+/g, " ")
    .trim();

let folder: string;
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), "portolan-replay-"))));
afterAll(() => rmSync(folder, { recursive: true }));

describe.each(ENGINES)("FakeDaemon makes the calls of %s", (engine) => {
  const known = new Set(recordedRequests(engine).map(({ verb, body }) => `${verb} ${withoutChance(body ?? null)}`));

  test.each(SCENARIOS)("in the scenario $name", async ({ name, until, liveRestore = false }) => {
    const socket = join(folder, `${engine}-${name}.sock`);
    await using driver = await ScriptedDriver.listen(socket);
    await using daemon = daemonFor(engine, socket);
    const steps = recordedSteps(engine, name);
    const first = steps.find((step): step is RecordedCommand => "calls" in step && step.calls.length > 0);
    if (first?.calls[0] !== "Activate") {
      // The recorded dockerd knew the driver from an earlier scenario.
      await daemon.createNetwork("warm-up", { subnets: [{ subnet: "192.0.2.0/24" }] });
      await daemon.removeNetwork("warm-up");
    }
    const numbering = new Numbering();
    let keepsContainers = liveRestore;
    let compared = 0;
    for (const step of steps) {
      if ("driver" in step) driver.script = step.driver;
      if (!("do" in step) || step.do.startsWith("(before")) continue;
      if (until?.test(step.do)) break;
      if (REFUSED_BY_CLI.test(step.out ?? "") || step.do.includes(GWBRIDGE)) continue;
      keepsContainers ||= step.do.includes("--live-restore");
      const before = daemon.exchanges.length;
      const failure = await runCommand(daemon, step.do, keepsContainers).then(
        () => undefined,
        (error: unknown) => error as Error,
      );
      const exchanges = daemon.exchanges.slice(before);
      const calls = exchanges.map(({ verb, body, status }) => numbering.describe(verb, body, status));
      const sameOrder = (list: readonly string[]): readonly string[] => (isParallel(step.do) ? list.toSorted() : list);
      expect({ do: step.do, calls: sameOrder(calls) }).toEqual({ do: step.do, calls: sameOrder(step.calls) });
      if (step.rc !== undefined)
        expect({ do: step.do, failed: failure !== undefined }).toEqual({ do: step.do, failed: step.rc !== 0 });
      if (failure && step.calls.length > 0 && !REFUSED_BY_KERNEL.test(failure.message)) {
        expect(plain(step.out ?? "")).toContain(plain(failure.message));
      }
      for (const { verb, body } of exchanges) {
        expect([...known]).toContain(`${verb} ${withoutChance(body ?? null)}`);
      }
      compared += calls.length;
    }
    expect(compared).toBeGreaterThan(0);
  });

  test("with its headers and nothing else", async () => {
    const socket = join(folder, `${engine}-headers.sock`);
    await using driver = await ScriptedDriver.listen(socket);
    await using daemon = daemonFor(engine, socket);
    await daemon.createNetwork("n1", { options: { note: "a<b>&c" } });
    const host = engine === "20.10" ? "" : "plugin.moby.localhost";
    const accept = "application/vnd.docker.plugins.v1.2+json";
    for (const { headers, raw } of driver.received) {
      const length = String(Buffer.byteLength(raw));
      const expected = { Host: host, "User-Agent": "Go-http-client/1.1", "Content-Length": length, Accept: accept };
      expect(headers).toEqual(Object.entries(expected).flat());
    }
    expect(driver.received[0]?.raw).toBe("");
    expect(driver.received.at(-1)?.raw).toMatch(/"note":"a\\u003cb\\u003e\\u0026c".*}\n$/);
  });
});
