import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DRIVERS, ENVIRONMENT, launch } from "../drivers.ts";
import { parseHelp } from "./help.ts";
import { problemsOf } from "./plugin-config.ts";

const CONFIGS = join(import.meta.dirname, "../../plugin-configs");

interface Config {
  readonly entrypoint: readonly string[];
  readonly interface: { readonly socket: string };
  readonly propagatedMount: string;
  readonly env: readonly { readonly name: string; readonly value: string | null; readonly settable: string[] | null }[];
}

const configOf = (name: string): Config =>
  JSON.parse(readFileSync(join(CONFIGS, name, "config.json"), "utf8")) as Config;

test("every driver is a managed plugin", () => {
  expect(readdirSync(CONFIGS)).toEqual(expect.arrayContaining(DRIVERS.map(({ name }) => name)));
});

describe.each(DRIVERS)("$name as a managed plugin", ({ name, source, socket, stateDir }) => {
  const config = configOf(name);

  test("has a config.json that dockerd can do everything with that it says", () => {
    expect(problemsOf(config)).toEqual([]);
  });

  test("is launched as everywhere", () => {
    const folder = "/usr/lib/portolan";
    expect(config.entrypoint).toEqual(launch(`${folder}/node`, `${folder}/${name}/dist/main.js`));
  });

  test("has the environment that it is launched with elsewhere, and nobody can change it", () => {
    for (const [variable, value] of Object.entries(ENVIRONMENT)) {
      expect(config.env.find((each) => each.name === variable)).toMatchObject({ value, settable: null });
    }
  });

  test("needs no variable to be where dockerd looks and to keep what it knows: an upgrade sets no new ones", () => {
    expect([`/run/docker/plugins/${config.interface.socket}`, config.propagatedMount]).toEqual([socket, stateDir]);
  });

  test("lets every flag be set, but for those that config.json itself decides", () => {
    const help = execFileSync(process.execPath, ["--conditions=source", source, "--help"], { encoding: "utf8" });
    const variables = parseHelp(help).flags.flatMap((flag) => (flag.variable === "" ? [] : [flag.variable]));
    const decided = ["PORTOLAN_SOCKET", "PORTOLAN_STATE_DIR"];
    const settable = config.env.flatMap((each) => (each.settable === null ? [] : [each.name]));
    expect(settable.toSorted()).toEqual(variables.filter((variable) => !decided.includes(variable)).toSorted());
  });
});

type Json = Record<string, unknown>;
const broken = (change: (config: Record<string, Json>) => void): readonly string[] => {
  const config = structuredClone(configOf("ts-bridge")) as unknown as Record<string, Json>;
  change(config);
  return problemsOf(config);
};
const mount = (fields: Json): Json => ({
  ...{ name: "x", description: "x", source: "/x", destination: "/x", type: "bind", options: ["rbind"], settable: null },
  ...fields,
});

test.each<[string, (config: Record<string, Json>) => unknown, string]>([
  ["a key that dockerd does not know", (c) => (c.linux!.devcies = {} as Json), 'dockerd has no "devcies"'],
  ["a type of another plugin", (c) => (c.interface!.types = ["docker.volumedriver/1.0"]), "interface.types"],
  ["a socket with a folder", (c) => (c.interface!.socket = "/run/x.sock"), "has to be a file name"],
  ["a network of its own", (c) => (c.network!.type = "bridge"), "has to be host"],
  ["a capability that is none", (c) => (c.linux!.capabilities = ["NET_ADMIN"]), "capabilities(7)"],
  ["a capability that it has anyway", (c) => (c.linux!.capabilities = ["CAP_NET_RAW"]), "has CAP_NET_RAW anyway"],
  ["a mount below /proc", (c) => (c.mounts = [mount({ destination: "/proc/sys" })] as never), "runc mounts nothing"],
  ["docker.sock", (c) => (c.mounts = [mount({ source: "/run/docker.sock" })] as never), "docker.sock has no place"],
  ["two mounts of a name", (c) => (c.mounts = [mount({}), mount({})] as never), "a name of its own"],
  [
    "a mount whose value can be set",
    (c) => (c.mounts = [mount({ settable: ["value"] })] as never),
    "settable is source",
  ],
  ["a variable that is none", (c) => ((c.env as never as Json[])[0]!.name = "log-level"), "environment variable"],
  ["arguments that are one text", (c) => (c.args!.value = "--log-level debug"), "a list of words"],
])("refuses %s", (_what, change, problem) => {
  expect(broken((config) => void change(config)).join("\n")).toContain(problem);
});
