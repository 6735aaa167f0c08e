// Clients and servers for tests of published ports, in whichever network namespace.
// eslint-disable-next-line no-restricted-imports -- the servers of tests
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { createServer } from "node:net";
import { shell, type Netns } from "@portolan/kernel/testing";

type Where = Pick<Netns, "run"> & { readonly name?: string };
interface Client {
  readonly from: Where;
  /** Clients of UDP are known by it. */
  readonly sourcePort?: number;
}

/** The namespace this process is in. */
export const thisHost: Where = { run: shell };

/** What the server behind an address says, which is where it saw the client; undefined when nothing answers. */
export async function ask(
  who: Where | Client,
  address: string,
  port: number,
  protocol: "tcp" | "udp" = "tcp",
): Promise<string | undefined> {
  const { from, sourcePort = 0 } = "from" in who ? who : { from: who };
  const host = address.includes(":") ? `[${address}]` : address;
  const reply =
    protocol === "tcp"
      ? await from.run(`curl -sS -g -m 1 http://${host}:${port}/`).catch(() => "")
      : await from
          .run(
            `${process.execPath} --no-warnings ${import.meta.dirname}/udp-client.ts ${address} ${port} ${sourcePort}`,
          )
          .catch(() => "");
  return reply === "" ? undefined : reply.replaceAll("::ffff:", "");
}

/** A server that answers each packet with its own name and the client's address. */
export async function serveUdp(where: Netns, port: number, name: string): Promise<AsyncDisposable> {
  const script = `
    const socket = require("node:dgram").createSocket("udp6");
    socket.on("message", (_, { address, port }) => socket.send("${name} to " + address, port, address));
    socket.bind(${port}, () => process.stdout.write("listening"));`;
  const server = spawn("ip", ["netns", "exec", where.name, process.execPath, "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(server.stdout, "data");
  return {
    async [Symbol.asyncDispose]() {
      server.kill("SIGKILL");
      await once(server, "exit");
    },
  };
}

/** A service of this host that is for this host alone. */
export async function serveOnLoopback(port: number): Promise<AsyncDisposable> {
  const server = createHttpServer((request, response) => response.end(request.socket.remoteAddress));
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  return {
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

/** Another program on this host that has a port. @throws EADDRINUSE */
export async function holdPort(port: number): Promise<AsyncDisposable> {
  const server = createServer();
  server.listen(port, "0.0.0.0");
  await once(server, "listening");
  return {
    async [Symbol.asyncDispose]() {
      server.close();
      await once(server, "close");
    },
  };
}
