// The rules that hold for every network driver, held against this one: repetitions, crashes at every step, whole engines.
import { FakeKernel } from "@portolan/kernel/testing";
import { silentLogger } from "@portolan/sdk";
import { conformance, lifeOf, type CrashPoints, type Host, type Life } from "@portolan/sdk/testing";
import { MemoryDisk, openMemoryStore } from "@portolan/state";
import { openBridge } from "./bridge.ts";
import { schema, type EndpointRecord } from "./records.ts";
import { NO_PATIENCE } from "./testing/host.ts";

class ConformanceHost implements Host {
  readonly #disk = new MemoryDisk();
  #points: CrashPoints | undefined;
  #kernel = this.#newKernel();

  readonly links = {
    attach: ({ srcName }: { srcName: string }) => this.#kernel.moveToSandbox(srcName),
    lost: async ({ srcName }: { srcName: string }) => {
      const port = srcName.replace(/^pc/, "pv");
      if (await this.#kernel.links.get(port)) this.#kernel.endSandboxOf(port);
    },
  };

  async start(points: CrashPoints): Promise<Life> {
    this.#points = points;
    // Whoever had it open is dead by now, in the middle of its start perhaps.
    this.#disk.powerOff();
    const onCommit = (moment: string) => points.reach(`${moment} commit`);
    const { store } = await openMemoryStore({ disk: this.#disk, schema, onCommit });
    const bridge = await openBridge({ kernel: this.#kernel, store, log: silentLogger, patience: NO_PATIENCE });
    await bridge.start();
    return lifeOf(bridge, store);
  }

  /** Of an endpoint one line, be there its record, its link or both: after a reboot its link is gone with its container. */
  async inventory(): Promise<readonly string[]> {
    const links = (await this.#kernel.links.list()).map(({ name }) => name).filter((name) => !/^(lo|pc)/.test(name));
    const addresses = links
      .filter((name) => name.startsWith("pt-"))
      .map(async (name) => (await this.#kernel.addresses.list(name)).map((address) => `${address} on ${name}`));
    const endpoints = [...(this.#disk.tables.get("endpoints")?.values() ?? [])].map(
      (text) => `pv${(JSON.parse(text) as EndpointRecord).id.slice(0, 12)}`,
    );
    const networks = [...(this.#disk.tables.get("networks")?.keys() ?? [])].map((id) => `record of ${id}`);
    const ruleset = await this.#kernel.nftables.list("list ruleset");
    const firewall = ruleset.flatMap((object) => firewallLines(object));
    return [...new Set([...links, ...endpoints]), ...(await Promise.all(addresses)).flat(), ...networks, ...firewall];
  }

  reboot(): void {
    this.#kernel = this.#newKernel();
  }

  #newKernel(): FakeKernel {
    return new FakeKernel({ onStep: (step) => this.#points?.reach(step) });
  }
}

function firewallLines(object: Readonly<Record<string, unknown>>): readonly string[] {
  const [kind = "", content] = Object.entries(object)[0] ?? [];
  const {
    name,
    chain,
    expr,
    elem = [],
  } = content as { name?: string; chain?: string; expr?: unknown; elem?: unknown[] };
  if (kind === "set" || kind === "map")
    return [`${kind} ${name}`, ...elem.map((element) => `${name}: ${JSON.stringify(element)}`)];
  return [kind === "rule" ? `${chain}: ${JSON.stringify(expr)}` : `${kind} ${name}`];
}

conformance("ts-bridge", () => new ConformanceHost(), {
  refusedOptions: [
    { "com.docker.network.driver.mtu": "67" },
    { "com.docker.network.bridge.no_such_option": "1" },
    { "portolan.no_such_option": "1" },
  ],
});
