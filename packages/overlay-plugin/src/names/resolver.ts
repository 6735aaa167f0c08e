// Serves names at addresses of this host: UDP and TCP, port 53.
import { createSocket, type RemoteInfo, type Socket as UdpSocket } from "node:dgram";
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { decide, type Asking } from "./answer.ts";
import { DnsStream, framed } from "./dns-stream.ts";
import type { Forwarder } from "./forward.ts";
import type { Tally } from "./tally.ts";
import type { Upstreams } from "./upstreams.ts";
import type { Zone } from "./zone.ts";

/** Where names are asked for. */
export const NAMES_PORT = 53;
/** A client that says nothing for that long is hung up on (RFC 7766, section 6.2.3: a few seconds). */
const IDLE_MS = 5000;
const MOST_CLIENTS = 128;
const MOST_OF_ONE = 8;
/** Of answers that a client does not take; bytes. */
const MOST_UNREAD = 1 << 20;

export interface ResolverParts {
  readonly zone: Zone;
  readonly upstreams: Upstreams;
  readonly forwarder: Forwarder;
  readonly tally: Tally;
}

export interface ListenAt {
  /** One that this host has. */
  readonly address: string;
  readonly port?: number;
  /** Whose names are asked for, and whether others may be asked, by the asker's address. */
  asking(asker: string): Omit<Asking, "transport">;
}

/** @throws Error EADDRINUSE, EADDRNOTAVAIL as Node has them; then nothing is left open */
export async function listen(parts: ResolverParts, at: ListenAt): Promise<AsyncDisposable> {
  const { address, port = NAMES_PORT } = at;
  await using opened = new AsyncDisposableStack();
  const udp = createSocket(address.includes(":") ? "udp6" : "udp4");
  opened.defer(() => void udp.close());
  udp.bind(port, address);
  await once(udp, "listening");
  // An answer to a client that has gone comes back as an error; the socket is none the worse for it.
  udp.on("error", () => undefined);
  udp.on("message", (query, from) => void overUdp(parts, at, udp, query, from));

  const clients = new Set<Socket>();
  const tcp = createServer((client) => {
    const { remoteAddress } = client;
    if ([...clients].filter((other) => other.remoteAddress === remoteAddress).length >= MOST_OF_ONE) {
      client.destroy();
      return;
    }
    clients.add(client);
    client.on("close", () => clients.delete(client));
    overTcp(parts, at, client);
  });
  tcp.maxConnections = MOST_CLIENTS;
  opened.defer(() => close(tcp, clients));
  tcp.listen(port, address);
  await once(tcp, "listening");
  tcp.on("error", () => undefined);
  return opened.move();
}

async function overUdp(parts: ResolverParts, at: ListenAt, socket: UdpSocket, query: Buffer, from: RemoteInfo) {
  const answer = await respond(parts, at, query, from.address, "udp");
  try {
    if (answer) socket.send(answer, from.port, from.address);
  } catch {
    // Closed meanwhile; the client asks somebody else.
  }
}

function overTcp(parts: ResolverParts, at: ListenAt, client: Socket): void {
  const asker = client.remoteAddress ?? "";
  client.setTimeout(IDLE_MS, () => client.destroy());
  client.on("error", () => undefined);
  const stream = new DnsStream((query) => {
    void respond(parts, at, query, asker, "tcp").then((answer) => {
      if (answer && client.writable) client.write(framed(answer));
      if (client.writableLength > MOST_UNREAD) client.destroy();
    });
  });
  client.on("data", (bytes) => stream.take(bytes));
}

async function respond(
  { zone, upstreams, forwarder, tally }: ResolverParts,
  at: ListenAt,
  query: Buffer,
  asker: string,
  transport: "udp" | "tcp",
): Promise<Buffer | undefined> {
  const decision = decide(query, { ...at.asking(asker), transport }, zone);
  if (decision.kind === "silence") return undefined;
  if (decision.kind === "answer") {
    tally.count(decision.end);
    return decision.packet;
  }
  const answer = await forwarder.ask(query, await upstreams.servers(), transport, asker);
  tally.count(answer ? "forwarded" : "unanswered");
  return answer ?? decision.refusal;
}

async function close(tcp: Server, clients: ReadonlySet<Socket>): Promise<void> {
  for (const client of clients) client.destroy();
  const { promise, resolve } = Promise.withResolvers<undefined>();
  tcp.close(() => resolve(undefined));
  await promise;
}
