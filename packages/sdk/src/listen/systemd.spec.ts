import { spawn } from "node:child_process";
import { once } from "node:events";
import { link } from "node:fs/promises";
import { createServer } from "node:http";
import { createServer as createNetServer } from "node:net";
import { fileURLToPath } from "node:url";
import { call } from "../spec-support/http-over-socket.ts";
import { TemporaryDirectory } from "../spec-support/temporary-directory.ts";
import { isSocketActivated, systemd } from "./systemd.ts";

const pid = String(process.pid);
const open = (environment: NodeJS.ProcessEnv, name?: string) =>
  systemd({ environment, ...(name === undefined ? {} : { name }) }).open(createServer());

test.each<[string, NodeJS.ProcessEnv, string | undefined, RegExp]>([
  ["nothing was handed over", {}, undefined, /LISTEN_PID is unset.*\.socket unit/],
  ["sockets were meant for another process", { LISTEN_PID: "1", LISTEN_FDS: "1" }, undefined, /LISTEN_PID is 1/],
  [
    "it is not clear which",
    { LISTEN_PID: pid, LISTEN_FDS: "2", LISTEN_FDNAMES: "a:b" },
    undefined,
    /a, b where exactly one socket is needed/,
  ],
  [
    "none has the name",
    { LISTEN_PID: pid, LISTEN_FDS: "1", LISTEN_FDNAMES: "a" },
    "plugin",
    /exactly one socket named "plugin"/,
  ],
])("refuses when %s", async (_what, environment, name, message) => {
  await expect(open(environment, name)).rejects.toThrow(message);
});

test("is recognised by process id and number", () => {
  expect(isSocketActivated({ LISTEN_PID: pid, LISTEN_FDS: "1" })).toBe(true);
  expect(isSocketActivated({ LISTEN_PID: pid, LISTEN_FDS: "0" })).toBe(false);
  expect(isSocketActivated({ LISTEN_PID: "1", LISTEN_FDS: "1" })).toBe(false);
});

test("serves an inherited socket, hides the variables, and leaves the file to systemd", async () => {
  await using directory = await TemporaryDirectory.make();
  const path = directory.file("activated.sock");
  // Linked to its name, since Node removes the name that it bound when this process closes its copy of the socket.
  const systemdsSocket = createNetServer().listen(`${path}.bound`);
  await once(systemdsSocket, "listening");
  await link(`${path}.bound`, path);
  const { fd } = (systemdsSocket as unknown as { _handle: { fd: number } })._handle;
  const program = `
    process.env.LISTEN_PID = String(process.pid);
    const { serve } = await import(${JSON.stringify(sibling("../serve.ts"))});
    const { systemd } = await import(${JSON.stringify(sibling("systemd.ts"))});
    const { nullNetwork } = await import(${JSON.stringify(sibling("../spec-support/null-drivers.ts"))});
    const server = await serve({ network: nullNetwork(), listen: systemd({ name: "plugin" }) });
    process.stdout.write([server.addresses[0], "LISTEN_FDS" in process.env].join(" "));
    process.once("SIGTERM", () => void server.close());`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program], {
    env: { ...process.env, NODE_OPTIONS: "--no-warnings", LISTEN_FDS: "1", LISTEN_FDNAMES: "plugin" },
    stdio: ["ignore", "pipe", "inherit", fd],
  });
  // Only the child holds the socket now: two holders would take turns in accepting.
  systemdsSocket.close();
  try {
    const [said] = (await once(child.stdout!, "data")) as [Buffer];
    expect(said.toString()).toBe("systemd:plugin false");
    expect(await call(path, "Plugin.Activate")).toMatchObject({ status: 200 });
    child.kill("SIGTERM");
    expect(await once(child, "exit")).toEqual([0, null]);
    expect(await directory.list()).toEqual(["activated.sock"]);
  } finally {
    child.kill("SIGKILL");
  }
}, 20_000);

function sibling(file: string): string {
  return fileURLToPath(new URL(file, import.meta.url));
}
