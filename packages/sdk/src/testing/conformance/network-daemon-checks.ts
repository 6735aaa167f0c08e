// A driver under a whole dockerd: each engine's order of calls, its restarts, and many containers at once.
import assert from "node:assert/strict";
import type { NetworkOptions } from "../dockerd/book.ts";
import type { EngineVersion } from "../dockerd/engine.ts";
import { FakeDaemon } from "../fake-daemon.ts";
import type { Exit } from "../fake-daemon.ts";
import type { Check } from "./network-checks.ts";
import { Rig } from "./rig.ts";
import type { NetworkConformanceOptions } from "./subject.ts";

type Options = NetworkConformanceOptions;

const DEFAULT_PARALLEL = 100;
const ENGINES: readonly EngineVersion[] = ["20.10", "26.1", "28.5"];
const EXITS: readonly Exit[] = ["graceful", "crash", "live-restore"];

function daemonOn(rig: Rig, engine: EngineVersion, managed = false): FakeDaemon {
  const { links } = rig.host;
  return new FakeDaemon({ socket: rig.socket, engine, managed, ...(links && { links }) });
}

function network({ networkOptions = {}, ipv6 = true }: Options, number: number): NetworkOptions {
  const four = { subnet: `10.${180 + number}.0.0/16` };
  const six = { subnet: `fd00:180:${number}::/64` };
  return { options: networkOptions, ipv6, subnets: ipv6 ? [four, six] : [four] };
}

/** dockerd went on in spite of failures that only its log tells of. */
function mustNotGrumble({ log }: FakeDaemon): void {
  assert.deepEqual(log, [], `dockerd had to ignore failures: ${log.join("; ")}`);
}

const lifeWith = (engine: EngineVersion): Check<Options> => ({
  name: `serves dockerd ${engine}: containers on two networks, connected, disconnected, restarted, removed`,
  async run(factory, options) {
    await using rig = await Rig.open(factory);
    await using daemon = daemonOn(rig, engine);
    await daemon.createNetwork("a", network(options, 1));
    await daemon.createNetwork("b", network(options, 2));
    await daemon.runContainer("one", { network: "a", ports: [{ container: 80 }] });
    const mac = options.chosenMac === false ? {} : { mac: "02:42:c0:ff:ee:02" };
    await daemon.runContainer("two", { network: "a", ...mac });
    await daemon.connect("b", "one");
    await daemon.disconnect("a", "one");
    await daemon.connect("a", "one");
    await daemon.stopContainer("two");
    await daemon.startContainer("two");
    for (const name of ["one", "two"]) await daemon.removeContainer(name);
    for (const name of ["a", "b"]) await daemon.removeNetwork(name);
    mustNotGrumble(daemon);
    await rig.mustLeaveNothing("after everything was removed");
  },
});

const restartsOf = (engine: EngineVersion, managed: boolean): Check<Options> => ({
  name: `outlives restarts and crashes of dockerd ${engine}${managed ? " as a managed plugin" : ""}, and its own meanwhile`,
  async run(factory, options) {
    for (const exit of EXITS) {
      for (const alsoPlugin of [false, true]) {
        await using rig = await Rig.open(factory);
        await using daemon = daemonOn(rig, engine, managed);
        await daemon.createNetwork("a", network(options, 1));
        await daemon.runContainer("back", { network: "a", restart: "always" });
        await daemon.runContainer("gone", { network: "a" });
        await daemon.restart(exit, () => (alsoPlugin ? rig.killAndStart() : undefined));
        const back = daemon.containers.get("back")?.sandbox;
        assert.ok(back, `after ${exit}, a container with --restart always must be back: ${daemon.log.join("; ")}`);
        await daemon.runContainer("new", { network: "a" });
        for (const name of ["back", "gone", "new"]) await daemon.removeContainer(name);
        await daemon.removeNetwork("a");
        mustNotGrumble(daemon);
        await rig.mustLeaveNothing(`after ${exit} ${alsoPlugin ? "and kill -9 of the plugin" : ""}`);
      }
    }
  },
});

const many: Check<Options> = {
  name: "serves many containers that start, and end, at once",
  async run(factory, options) {
    await using rig = await Rig.open(factory);
    await using daemon = daemonOn(rig, "28.5");
    const names = Array.from({ length: options.parallelEndpoints ?? DEFAULT_PARALLEL }, (_, index) => `c${index}`);
    await daemon.createNetwork("a", network(options, 1));
    await Promise.all(names.map((name) => daemon.runContainer(name, { network: "a", ports: [{ container: 80 }] })));
    const links = daemon.exchanges
      .filter(({ verb }) => verb === "NetworkDriver.Join")
      .map(({ reply }) => (reply as { InterfaceName?: { SrcName?: string } }).InterfaceName?.SrcName)
      .filter((name) => name !== undefined);
    assert.equal(new Set(links).size, links.length, "two endpoints were given one link");
    await Promise.all(names.map((name) => daemon.stopContainer(name)));
    // Ends and beginnings mixed.
    await Promise.all(names.map((name) => daemon.startContainer(name)));
    await Promise.all(
      names.map((name, index) => (index % 2 === 0 ? daemon.removeContainer(name) : daemon.stopContainer(name))),
    );
    await Promise.all(names.filter((_, index) => index % 2 === 1).map((name) => daemon.removeContainer(name)));
    await daemon.removeNetwork("a");
    mustNotGrumble(daemon);
    await rig.mustLeaveNothing("after all containers and their network were removed");
  },
};

const absent: Check<Options> = {
  name: "comes back to a dockerd that has forgotten what it could not delete meanwhile",
  async run(factory, options) {
    await using rig = await Rig.open(factory);
    await using daemon = daemonOn(rig, "28.5");
    await daemon.createNetwork("a", network(options, 1));
    await daemon.runContainer("one", { network: "a" });
    await rig.kill();
    await daemon.removeContainer("one");
    await rig.start();
    // dockerd hands the same address to the next container.
    await daemon.runContainer("two", { network: "a" });
    await daemon.removeContainer("two");
    await daemon.removeNetwork("a");
    await rig.mustLeaveNothing("after a container whose end the driver never heard of");
  },
};

export const networkDaemonChecks: readonly Check<Options>[] = [
  ...ENGINES.map(lifeWith),
  ...ENGINES.map((engine) => restartsOf(engine, false)),
  restartsOf("28.5", true),
  many,
  absent,
];
