import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { plan } from "./plan.ts";

const suites: Readonly<Record<string, string>> = {
  "010_plain_1.test.ts": 'onEveryEngine("a network", ({ row }) => {});',
  "020_also_1.test.ts": 'onEveryEngine("a network", ({ row }) => {}, { needs: { alsoInVm: true } });',
  "120_hosts_3.test.ts": 'describeWith({ hosts: 3 }, "three hosts", () => {});',
  "400_vlan_1.test.ts":
    'onEveryEngine("a VLAN", ({ row }) => {}, {\n  needs: {\n    modules: ["8021q", "macvlan"],\n  },\n});',
  "610_package_1.test.ts": 'describeWith({ systemd: true }, "a package", () => {});',
  "730_swarm_3.test.ts":
    'onHosts("a swarm", {\n  needs: {\n    hosts: 3,\n    modules: ["ip_vs"],\n    plugins: ["ts-overlay"],\n  },\n}, () => {});',
  "900_smoke_1.test.ts": 'onMachines({ machines: 1 }, "a machine", () => {});',
  "940_pair_2.test.ts": 'onMachines({ machines: 2, modules: ["vxlan"] }, "two machines", () => {});',
  "notes.md": "describeWith({ systemd: true }",
};

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "portolan-plan-"));
  for (const [name, text] of Object.entries(suites)) await writeFile(join(folder, name), text);
});
afterAll(() => rm(folder, { recursive: true }));

const numbers = (words: string, ...modules: string[]): string[] =>
  plan(folder, words, (name) => modules.includes(name)).map(({ file }) => file.slice(0, 3));

test("what needs a VM, or says that it runs there as well, belongs there: the first look first, then what is up soonest, and what has managed plugins", () => {
  expect(numbers("")).toEqual(["900", "400", "610", "940", "730", "020"]);
});

test("a suite whose modules this machine has comes after those that only a VM can show", () => {
  expect(numbers("", "8021q")).toEqual(["900", "400", "610", "940", "730", "020"]);
  expect(numbers("", "8021q", "macvlan", "ip_vs")).toEqual(["900", "610", "940", "020", "400", "730"]);
});

test("a suite has systemd when it needs it, and from 900 on as many machines as its name says", () => {
  expect(plan(folder, "", () => false).map(({ systemd, machines }) => [systemd, machines])).toEqual([
    [true, 1],
    [false, 1],
    [true, 1],
    [true, 2],
    [false, 1],
    [false, 1],
  ]);
});

test("a suite has managed plugins when it needs them", () => {
  expect(plan(folder, "4 730", () => false).map(({ plugins }) => plugins)).toEqual([false, true]);
});

test("any suite runs in a VM when it is asked for, once", () => {
  expect(numbers("12, 9 940 010")).toEqual(["900", "940", "010", "120"]);
});

test("a word that no suite begins with is refused with the names of all", () => {
  expect(() => plan(folder, "010 777", () => false)).toThrow(/no suite begins with "777": 010_plain_1\.test\.ts, /);
});
