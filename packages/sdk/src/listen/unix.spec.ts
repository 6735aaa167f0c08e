import { existsSync } from "node:fs";
import { link, lstat, rename, unlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createServer as createNetServer, type Server } from "node:net";
import { once } from "node:events";
import { serve } from "../serve.ts";
import { call } from "../spec-support/http-over-socket.ts";
import { nullNetwork } from "../spec-support/null-drivers.ts";
import { TemporaryDirectory } from "../spec-support/temporary-directory.ts";
import { managed } from "./managed.ts";
import { unix } from "./unix.ts";

const served = (path: string, options?: Parameters<typeof unix>[1]) =>
  serve({ network: nullNetwork(), listen: unix(path, options) });

test("the socket is there with mode 0600 once serve returns, and nothing else is", async () => {
  await using directory = await TemporaryDirectory.make();
  const path = directory.file("x.sock");
  await using server = await served(path);
  expect(server.addresses).toEqual([`unix://${path}`]);
  expect((await lstat(path)).mode & 0o777).toBe(0o600);
  expect(await directory.list()).toEqual(["x.sock"]);
});

test("mode and directory are as asked for", async () => {
  await using directory = await TemporaryDirectory.make();
  const path = directory.file("new/dir/x.sock");
  await expect(served(path)).rejects.toThrow(`there is no directory ${directory.file("new/dir")}`);
  await using _server = await served(path, { mode: 0o660, makeDirectory: true });
  expect((await lstat(path)).mode & 0o777).toBe(0o660);
});

/** A socket file that nobody listens on any more, as `kill -9` leaves one. */
async function leaveStale(path: string): Promise<void> {
  const server = createNetServer().listen(`${path}.alive`);
  await once(server, "listening");
  await link(`${path}.alive`, path);
  server.close();
  await once(server, "close");
}

test("a socket that nobody answers on is replaced", async () => {
  await using directory = await TemporaryDirectory.make();
  const path = directory.file("x.sock");
  await leaveStale(path);
  await using _server = await served(path);
  expect(await call(path, "Plugin.Activate")).toMatchObject({ status: 200 });
});

test("a socket that another instance answers on is left to it", async () => {
  await using directory = await TemporaryDirectory.make();
  const path = directory.file("x.sock");
  await using _first = await served(path);
  await expect(served(path)).rejects.toThrow(`another instance is serving ${path}. Stop it, or choose another path.`);
  expect(await call(path, "Plugin.Activate")).toMatchObject({ status: 200 });
  expect(await directory.list()).toEqual(["x.sock"]);
});

test("a file that is no socket is never removed", async () => {
  await using directory = await TemporaryDirectory.make();
  const path = directory.file("x.sock");
  await writeFile(path, "precious");
  await expect(served(path)).rejects.toThrow(`${path} exists and is not a socket`);
  expect(existsSync(path)).toBe(true);
});

test("at close the socket goes, unless it is another instance's by now", async () => {
  await using directory = await TemporaryDirectory.make();
  const path = directory.file("x.sock");
  const first = await served(path);
  await first.close();
  expect(await directory.list()).toEqual([]);

  const second = await served(path);
  await unlink(path);
  const successor: Server = createServer().listen(directory.file("y.sock"));
  await once(successor, "listening");
  await rename(directory.file("y.sock"), path);
  await second.close();
  expect(await directory.list()).toEqual(["x.sock"]);
  successor.close();
});

test.each([
  ["a relative path", "x.sock", "Give the absolute path"],
  ["a directory", "/run/", "Give the absolute path"],
  ["a path that the kernel would cut off", `/${"x".repeat(100)}`, "at most 98 bytes"],
])("refuses %s", async (_what, path, message) => {
  await expect(served(path)).rejects.toThrow(message);
});

test("several listeners serve the same drivers, and one that cannot open closes the others", async () => {
  await using directory = await TemporaryDirectory.make();
  const [a, b] = [directory.file("a.sock"), directory.file("b.sock")];
  const both = await serve({ network: nullNetwork(), listen: [unix(a), unix(b)] });
  expect(await call(b, "Plugin.Activate")).toMatchObject({ status: 200 });
  await both.close();

  await writeFile(b, "");
  await expect(serve({ network: nullNetwork(), listen: [unix(a), unix(b)] })).rejects.toThrow("not a socket");
  expect(await directory.list()).toEqual(["b.sock"]);
});

test("a managed plugin's socket is named by its file name alone", async () => {
  await using directory = await TemporaryDirectory.make();
  await using _server = await serve({ network: nullNetwork(), listen: managed("ts.sock", directory.file("plugins")) });
  expect(await call(directory.file("plugins/ts.sock"), "Plugin.Activate")).toMatchObject({ status: 200 });
  expect(() => managed("/run/docker/plugins/ts.sock")).toThrow(/Interface.Socket in config.json/);
  expect(() => managed("")).toThrow(/Interface.Socket/);
});
