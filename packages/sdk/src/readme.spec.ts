// The README's examples do what the README says.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { FakeDaemon } from "./testing/index.ts";
import { TemporaryDirectory } from "./spec-support/temporary-directory.ts";

const folder = new URL("../", import.meta.url);
const readme = readFileSync(new URL("README.md", folder), "utf8");
const blocks = [...readme.matchAll(/```(ts|text)\n([^]*?)```/g)].map(([, language, text]) => ({
  language,
  text: text!,
}));
const [nullDriver, optionTable, printedTable] = blocks;

/** Arguments with which Node runs a block as it stands in the README. */
const running = (block: (typeof blocks)[number] | undefined) => [
  "--conditions=source",
  "--input-type=module-typescript",
  "--eval",
  block!.text,
];

test("the null driver is short", () => {
  const lines = nullDriver!.text.split("\n").filter((line) => line !== "" && !line.startsWith("//"));
  expect(lines.length).toBeLessThanOrEqual(25);
});

test("the null driver serves a dockerd from its first call to its last, and refuses options", async () => {
  await using directory = await TemporaryDirectory.make();
  const socket = directory.file("null.sock");
  const env = { ...process.env, PORTOLAN_SOCKET: socket, PORTOLAN_LOG_LEVEL: "error" };
  const plugin = spawn(process.execPath, running(nullDriver), {
    cwd: folder,
    env,
    stdio: ["ignore", "ignore", "inherit"],
  });
  const exit = once(plugin, "exit");
  try {
    while (!existsSync(socket)) {
      expect(plugin.exitCode).toBeNull();
      await sleep(10);
    }
    await using dockerd = new FakeDaemon({ socket });
    await dockerd.createNetwork("nowhere");
    await dockerd.runContainer("web", { network: "nowhere" });
    await dockerd.removeContainer("web");
    await dockerd.removeNetwork("nowhere");
    expect(dockerd.log).toEqual([]);
    const refused = dockerd.createNetwork("other", { options: { mtu: "1400" } });
    await expect(refused).rejects.toThrow(
      /ts-null: create network [0-9a-f]{12}: option "mtu" is unknown\. This driver has no options\.$/,
    );
  } finally {
    plugin.kill("SIGTERM");
  }
  expect(await exit).toEqual([0, null]);
  expect(await directory.list()).toEqual([]);
}, 20_000);

test("the option table prints what the README shows", () => {
  const printed = execFileSync(process.execPath, running(optionTable), { cwd: folder, encoding: "utf8" });
  expect(printedTable).toEqual({ language: "text", text: printed });
});
