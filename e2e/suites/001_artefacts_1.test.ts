// What a failed row leaves: everything that one needs to understand it without the host, which is gone by then.
import { chosenEngines } from "../lab/engines.ts";
import { runFailing, type Leftovers } from "../lab/failing.ts";
import { patience } from "../lab/patience.ts";
import { driver, isPlugin } from "../lab/suite.ts";

describe(`a suite that fails, ${driver}`, () => {
  let left: Leftovers;
  beforeAll(async () => {
    // What is kept does not depend on the Docker: one engine is enough.
    left = await runFailing("failing_1.test.ts", chosenEngines().at(-1)?.version ?? "");
  }, 100_000 * patience);

  test("says what failed, and where the logs are", () => {
    expect(left.said).toContain("on purpose");
    expect(left.said).toMatch(/logs and state of the host: \S+leaves-what-explains-it/);
    expect(left.files.get("failure.txt")).toContain("on purpose");
  });

  test.each([
    ["dockerd.log", /level=debug msg=.*\/networks\/create/],
    ["links.txt", /bridge forward_delay[^]*veth/],
    ["fdb.txt", /master \S+/],
    ["ruleset.txt", /table /],
    ["iptables.txt", /-A FORWARD/],
    ["routes.txt", /default via 198\.51\.100\.1/],
    ["containers.txt", /lubeck/],
    ["network-details.txt", /"Name": "hansa"/],
    ["processes.txt", /dockerd/],
  ])("keeps %s", (file, content) => {
    expect(content.test(left.files.get(file) ?? "")).toBe(true); // without the whole file in the complaint
  });

  const reason = isPlugin ? "" : " (skipped: the built-in driver has none of them)";
  (isPlugin ? test : test.skip)(
    `keeps the driver's log, its status and a transcript of dockerd's calls${reason}`,
    () => {
      expect(left.files.get(`${driver}.log`)).toContain('"msg":"create network"');
      expect(left.files.get(`status-${driver}.json`)).toContain("networks");
      const calls = (left.files.get(`transcript-${driver}.jsonl`) ?? "")
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as { verb: string; request: unknown; status: number; response: unknown });
      const verbs = ["CreateNetwork", "CreateEndpoint", "Join"].map((verb) => `NetworkDriver.${verb}`);
      expect(calls.map(({ verb }) => verb).filter((verb) => verbs.includes(verb))).toEqual(verbs);
      const join = calls.find(({ verb }) => verb === "NetworkDriver.Join");
      expect(join).toMatchObject({
        request: { NetworkID: expect.stringMatching(/^[0-9a-f]{64}$/) as string },
        status: 200,
        response: { InterfaceName: { SrcName: expect.any(String) as string } },
      });
    },
  );
});
