// What a failed row leaves of a machine, which is gone when somebody reads it.
import { runFailing, type Leftovers } from "../lab/failing.ts";
import { driver, isPlugin } from "../lab/suite.ts";
import { installPlugin, STEP_MS } from "../vm/machine.ts";
import { onMachines } from "../vm/rows.ts";

onMachines({ machines: 1 }, `a suite that fails on a machine, ${driver}`, () => {
  let left: Leftovers;
  beforeAll(async () => {
    if (isPlugin) await installPlugin(driver);
    left = await runFailing("failing_machine_1.test.ts", process.env.PORTOLAN_E2E_ENGINES ?? "");
  }, 3 * STEP_MS);

  const kept: readonly (readonly [file: string, content: RegExp])[] = [
    ["dockerd.txt", /docker\.service - Docker Application Container Engine/],
    ["links.txt", /bridge forward_delay/],
    ["fdb.txt", /dev \S+/],
    ["ruleset.txt", /table /],
    ["iptables.txt", /-A FORWARD/],
    ["network-details.txt", /"Name": "hansa"/],
    ["kernel.txt", /Linux version/],
  ];
  const keptOfPlugin: typeof kept = [
    [`${driver}.log`, /"msg":"create network"/],
    [`status-${driver}.json`, /networks/],
    [`transcript-${driver}.jsonl`, /"verb":"NetworkDriver\.CreateNetwork".*"request":\{.*"status":200/],
  ];
  for (const [file, content] of [...kept, ...(isPlugin ? keptOfPlugin : [])]) {
    test(`keeps ${file}`, () => {
      expect(content.test(left.files.get(file) ?? "")).toBe(true); // without the whole file in the complaint
    });
  }
});
