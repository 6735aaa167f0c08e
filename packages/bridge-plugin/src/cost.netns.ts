// What an endpoint and its ports cost in the firewall, on the real kernel: elements, and never a rule.
import { inOwnNamespace } from "@portolan/kernel/testing";
import { ANTISPOOF_TABLE } from "./antispoof.ts";
import { TABLE } from "./firewall.ts";
import { RealHost } from "./testing/real-host.ts";

interface Rule {
  readonly family: string;
  readonly table: string;
}

const DUAL = { subnet: "10.40.0.0/24", subnet6: "fd00:40::/64" };
const PORTS = Array.from({ length: 50 }, (_, number) => `${8000 + number}:${80 + number}`);

inOwnNamespace("the firewall", () => {
  let host: RealHost;
  /** What was changed, a text for each transaction. */
  let transactions: string[];

  beforeEach(async () => {
    host = await RealHost.boot();
    const { nftables } = host.kernel;
    const run = nftables.run.bind(nftables);
    transactions = [];
    nftables.run = (text) => {
      transactions.push(text);
      return run(text);
    };
  });
  afterEach(() => host[Symbol.asyncDispose]());

  async function rules(): Promise<number> {
    const all = (await host.kernel.nftables.list("list ruleset")).flatMap(({ rule }) => (rule ?? []) as Rule | Rule[]);
    return all.filter(({ family, table }) => [TABLE, ANTISPOOF_TABLE].includes(`${family} ${table}`)).length;
  }

  it("changes elements in one transaction for an endpoint, and in one for its ports, however many", async () => {
    await host.createNetwork("net", DUAL);
    const steps: readonly [string, () => Promise<unknown>][] = [
      ["endpoint", () => host.run("net", "web", "10.40.0.2/24", "fd00:40::2/64")],
      ["publish", () => host.publish("net", "web", PORTS)],
      ["unpublish", () => host.unpublish("net", "web")],
      ["leave", () => host.leave("net", "web")],
      ["delete", () => host.deleteEndpoint("net", "web")],
    ];
    const counts: [string, number][] = [];
    for (const [name, step] of steps) {
      transactions.length = 0;
      await step();
      counts.push([name, transactions.length]);
      const words = transactions.flatMap((text) => text.split("\n")).map((line) => line.split(" ", 2).join(" "));
      expect(words.filter((word) => !/^(add|delete) element$/.test(word))).toEqual([]);
    }
    expect(Object.fromEntries(counts)).toEqual({ endpoint: 1, publish: 1, unpublish: 1, leave: 0, delete: 1 });
  });

  it("has as many rules with networks, containers and ports as without", async () => {
    const before = await rules();
    expect(before).toBeGreaterThan(10);
    for (const [index, name] of ["net", "other", "third"].entries()) {
      await host.createNetwork(name, { subnet: `10.4${index}.0.0/24`, subnet6: `fd00:4${index}::/64` });
      await host.run(name, `${name}-web`, `10.4${index}.0.2/24`, `fd00:4${index}::2/64`);
      await host.publish(name, `${name}-web`, [`80${index}0:80`, `80${index}1:81/udp`]);
    }
    expect(await rules()).toBe(before);
  });
});
