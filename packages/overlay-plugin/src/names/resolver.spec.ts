// The resolver on loopback, asked by c-ares (Node's own resolver) and by raw sockets.
import { createSocket } from "node:dgram";
import { Resolver } from "node:dns/promises";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect, createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decode, encode } from "dns-packet";
import { framed } from "./dns-stream.ts";
import { Forwarder } from "./forward.ts";
import { listen } from "./resolver.ts";
import { Tally } from "./tally.ts";
import { Upstreams } from "./upstreams.ts";
import type { Zone } from "./zone.ts";

const manyAddresses = Array.from({ length: 200 }, (_, index) => `10.9.1.${String(index)}`);
const zone: Zone = {
  addresses: (network, name) =>
    network === "n1" ? { web: ["10.9.0.2", "fd00::2"], many: manyAddresses }[name] : undefined,
  names: (network, address) => (network === "n1" && address === "10.9.0.2" ? ["web"] : []),
};

describe("the resolver", () => {
  let open: AsyncDisposableStack;
  let folder: string;

  beforeEach(async () => {
    open = new AsyncDisposableStack();
    folder = await mkdtemp(join(tmpdir(), "names-"));
    open.defer(() => rm(folder, { recursive: true }));
  });
  afterEach(() => open.disposeAsync());

  /** A port that is free for UDP and TCP alike, most probably: TCP chose it. */
  async function freePort(): Promise<number> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, "close");
    return port;
  }

  async function serve(address = "127.0.0.1", servers: readonly string[] = [], upstreamPort = 53): Promise<number> {
    const file = join(folder, "resolv.conf");
    await writeFile(file, servers.map((server) => `nameserver ${server}\n`).join(""));
    const port = await freePort();
    const parts = {
      zone,
      upstreams: new Upstreams(file, () => false),
      forwarder: new Forwarder(upstreamPort),
      tally: new Tally(),
    };
    open.use(await listen(parts, { address, port, asking: () => ({ networks: ["n1"], mayForward: true }) }));
    return port;
  }

  function client(port: number, address = "127.0.0.1"): Resolver {
    const resolver = new Resolver({ timeout: 3000, tries: 1 });
    resolver.setServers([address.includes(":") ? `[${address}]:${String(port)}` : `${address}:${String(port)}`]);
    return resolver;
  }

  /** A server of the world: knows example.org, and says to others what `code` says. */
  async function upstream(address: string, port: number, code = 0): Promise<string[]> {
    const asked: string[] = [];
    const socket = createSocket("udp4");
    socket.bind(port, address);
    await once(socket, "listening");
    open.defer(() => void socket.close());
    socket.on("message", (bytes, from) => {
      const { id = 0, questions = [] } = decode(bytes);
      asked.push(questions[0]?.name ?? "");
      const answers = code === 0 ? [{ type: "A", name: questions[0]?.name ?? "", data: "192.0.2.1" } as const] : [];
      socket.send(encode({ type: "response", id, flags: code, questions, answers }), from.port, from.address);
    });
    return asked;
  }

  it("answers IPv4, IPv6 and reverse questions", async () => {
    const resolver = client(await serve());
    await expect(resolver.resolve4("web", { ttl: true })).resolves.toEqual([{ address: "10.9.0.2", ttl: 1 }]);
    await expect(resolver.resolve6("web")).resolves.toEqual(["fd00::2"]);
    await expect(resolver.reverse("10.9.0.2")).resolves.toEqual(["web"]);
  });

  it("is asked again over TCP for what UDP has no room for", async () => {
    const found = await client(await serve()).resolve4("many");
    expect(found.sort()).toEqual([...manyAddresses].sort());
  });

  it("answers over IPv6", async () => {
    await expect(client(await serve("::1"), "::1").resolve4("web")).resolves.toEqual(["10.9.0.2"]);
  });

  it("forwards the rest, and passes over servers that refuse or are silent", async () => {
    const port = await freePort();
    const refusing = await upstream("127.0.0.2", port, 5);
    const knowing = await upstream("127.0.0.3", port);
    const resolver = client(await serve("127.0.0.1", ["127.0.0.9", "127.0.0.2", "127.0.0.3"], port));
    await expect(resolver.resolve4("example.org")).resolves.toEqual(["192.0.2.1"]);
    expect([refusing, knowing]).toEqual([["example.org"], ["example.org"]]);
  });

  it("passes on that a name does not exist, without asking the next server", async () => {
    const port = await freePort();
    await upstream("127.0.0.2", port, 3);
    const next = await upstream("127.0.0.3", port);
    const resolver = client(await serve("127.0.0.1", ["127.0.0.2", "127.0.0.3"], port));
    await expect(resolver.resolve4("example.org")).rejects.toMatchObject({ code: "ENOTFOUND" });
    expect(next).toEqual([]);
  });

  it("refuses what it may not or can't ask anybody", async () => {
    await expect(client(await serve()).resolve4("example.org")).rejects.toMatchObject({ code: "EREFUSED" });
  });

  it("answers several questions of one TCP connection, in pieces or together", async () => {
    const socket = connect(await serve(), "127.0.0.1");
    const ask = (id: number) => framed(encode({ type: "query", id, questions: [{ name: "web", type: "A" }] }));
    socket.write(ask(1).subarray(0, 5));
    await new Promise((resolve) => setTimeout(resolve, 20));
    socket.write(Buffer.concat([ask(1).subarray(5), ask(2)]));
    let bytes = Buffer.alloc(0);
    const ids = new Set<number>();
    for await (const part of socket as AsyncIterable<Buffer>) {
      bytes = Buffer.concat([bytes, part]);
      while (bytes.length > 2 && bytes.length >= 2 + bytes.readUInt16BE(0)) {
        const end = 2 + bytes.readUInt16BE(0);
        ids.add(decode(bytes.subarray(2, end)).id ?? -1);
        bytes = bytes.subarray(end);
      }
      if (ids.size === 2) break;
    }
    expect(ids).toEqual(new Set([1, 2]));
  });

  it("says which address it can't listen at, and leaves nothing open", async () => {
    const port = await freePort();
    const blocker = createServer().listen(port, "127.0.0.1");
    await once(blocker, "listening");
    open.defer(() => void blocker.close());
    const parts = {
      zone,
      upstreams: new Upstreams("/nonexistent", () => false),
      forwarder: new Forwarder(),
      tally: new Tally(),
    };
    await expect(
      listen(parts, { address: "127.0.0.1", port, asking: () => ({ networks: [], mayForward: false }) }),
    ).rejects.toMatchObject({
      code: "EADDRINUSE",
    });
    const udp = createSocket("udp4").bind(port, "127.0.0.1");
    await once(udp, "listening");
    udp.close();
  });
});

describe("the host's servers", () => {
  it("are those of resolv.conf, at most three, without our own, and read again when the file changes", async () => {
    const folder = await mkdtemp(join(tmpdir(), "names-"));
    const file = join(folder, "resolv.conf");
    const upstreams = new Upstreams(file, (address) => address === "10.0.0.9");
    await expect(upstreams.servers(0)).resolves.toEqual([]);
    const text = ["10.0.0.1", "bogus", "10.0.0.9", "fe80::1%eth0", "10.0.0.3", "10.0.0.4"];
    await writeFile(file, `# ours\noptions ndots:1\n${text.map((server) => `nameserver ${server}\n`).join("")}`);
    await expect(upstreams.servers(1000)).resolves.toEqual([]);
    await expect(upstreams.servers(2000)).resolves.toEqual(["10.0.0.1", "fe80::1%eth0", "10.0.0.3"]);
    await rm(folder, { recursive: true });
    await expect(upstreams.servers(4000)).resolves.toEqual([]);
  });
});
