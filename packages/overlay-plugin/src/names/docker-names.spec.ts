// What is learned of Docker, from a stand-in that answers as Docker's API does; suite 520 asks the real one.
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server, type ServerResponse } from "node:http";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLogger } from "@portolan/sdk";
import { DockerApi } from "./docker-api.ts";
import { DockerNames } from "./docker-names.ts";

const container = (name: string, aliases: readonly string[] | null) => ({
  Id: "c1",
  Name: `/${name}`,
  NetworkSettings: {
    Networks: {
      net: { EndpointID: "e1", Aliases: aliases, DNSNames: [name, "0123456789ab"] },
      left: { EndpointID: "", Aliases: null },
    },
  },
});

let folder: string;
let server: Server;
let streams: ServerResponse[];
let known: object;
let learned: (readonly [string, readonly string[]])[];
let names: DockerNames;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "docker-"));
  streams = [];
  learned = [];
  known = container("Web", ["www", "0123456789ab"]);
  server = createServer((request, response) => {
    const { url = "" } = request;
    if (url.startsWith("/events")) {
      response.writeHead(200).flushHeaders();
      streams.push(response);
    } else if (url === "/containers/json") response.end(JSON.stringify([{ Id: "c1" }]));
    else if (url === "/containers/c1/json") response.end(JSON.stringify(known));
    else response.writeHead(404).end();
  });
  await listen();
  names = new DockerNames({
    api: new DockerApi(join(folder, "docker.sock")),
    learn: (endpoint, all) => Promise.resolve(void learned.push([endpoint, all])),
    log: silentLogger,
    retryMs: 10,
  });
  names.start();
  await until(() => learned.length === 1);
});

afterEach(async () => {
  await names[Symbol.asyncDispose]();
  await close();
  await rm(folder, { recursive: true });
});

async function listen(): Promise<void> {
  server.listen(join(folder, "docker.sock"));
  await once(server, "listening");
}

async function close(): Promise<void> {
  server.closeAllConnections();
  server.close();
  await once(server, "close");
}

async function until(look: () => boolean): Promise<void> {
  for (const end = Date.now() + 3000; !look(); await new Promise((resolve) => setTimeout(resolve, 5)))
    if (Date.now() > end) throw new Error("it did not come to that");
}

it("is the name and the aliases of what runs already, without Docker's short ids", () => {
  expect(learned).toEqual([["e1", ["web", "www"]]]);
  expect(names.trouble).toBeUndefined();
});

it("is learned again when a container is connected or renamed, be its event in pieces", async () => {
  known = container("db", null);
  const event = JSON.stringify({ Type: "container", Action: "rename", Actor: { ID: "c1" } });
  streams[0]?.write(event.slice(0, 9));
  await new Promise((resolve) => setTimeout(resolve, 20));
  streams[0]?.write(`${event.slice(9)}\n`);
  await until(() => learned.length === 2);
  expect(learned[1]).toEqual(["e1", ["db"]]);
  const connected = { Type: "network", Action: "connect", Actor: { ID: "net", Attributes: { container: "c1" } } };
  const gone = { ...connected, Actor: { Attributes: { container: "c9" } } };
  streams[0]?.write(`${JSON.stringify(gone)}\n${JSON.stringify(connected)}\n`);
  await until(() => learned.length === 3);
});

it("goes on by itself after Docker was away, and says meanwhile why not", async () => {
  await close();
  await until(() => names.trouble !== undefined);
  await rm(join(folder, "docker.sock"), { force: true });
  await listen();
  await until(() => learned.length >= 2);
  expect(names.trouble).toBeUndefined();
});
