// Serves a reserved port by connections of our own, for what NAT can't lead to a container: IPv6 to one that has IPv4 only, ::1.
import { createSocket, type RemoteInfo, type Socket as UdpSocket } from "node:dgram";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import type { RelayTarget } from "./kernel.ts";

/** As docker-proxy has it. */
const UDP_SILENCE_MS = 90_000;

/** @param fd a listening socket, ours from now on */
export async function relayTcp(fd: number, target: RelayTarget): Promise<Disposable> {
  const connections = new Set<Socket>();
  // Either side may have said all it had to say while the other still speaks.
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const upstream = connect({ host: target.address, port: target.port, allowHalfOpen: true, noDelay: true });
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      connections.add(one);
      one.on("error", () => other.resetAndDestroy());
      one.on("close", () => {
        connections.delete(one);
        if (one.errored !== null) other.resetAndDestroy();
      });
      one.pipe(other);
    }
  });
  // What goes wrong with accepting concerns that one client.
  server.on("error", () => undefined);
  const listening = once(server, "listening");
  server.listen({ fd });
  await listening;
  server.unref();
  return {
    [Symbol.dispose]: () => {
      server.close();
      for (const connection of connections) connection.resetAndDestroy();
    },
  };
}

interface Client {
  readonly upstream: UdpSocket;
  readonly clock: NodeJS.Timeout;
}

/** @param fd a bound socket, ours from now on */
export async function relayUdp(fd: number, family: 4 | 6, target: RelayTarget): Promise<Disposable> {
  const socket = createSocket(family === 4 ? "udp4" : "udp6");
  const clients = new Map<string, Client>();
  const drop = (key: string) => {
    clients.get(key)?.upstream.close();
    clearTimeout(clients.get(key)?.clock);
    clients.delete(key);
  };
  const open = (key: string, { address, port }: RemoteInfo): Client => {
    const upstream = createSocket(target.address.includes(":") ? "udp6" : "udp4");
    const clock = setTimeout(() => drop(key), UDP_SILENCE_MS).unref();
    upstream.on("message", (packet) => {
      clock.refresh();
      socket.send(packet, port, address, () => undefined);
    });
    // Nobody listens in the container, as a rule; the next packet may try again.
    upstream.on("error", () => drop(key));
    upstream.connect(target.port, target.address);
    return { upstream: upstream.unref(), clock };
  };
  socket.on("message", (packet, from) => {
    const key = `${from.address} ${from.port}`;
    const client = clients.get(key) ?? open(key, from);
    clients.set(key, client);
    client.clock.refresh();
    const { upstream } = client;
    const send = () => upstream.send(packet, () => undefined);
    if (isConnected(upstream)) send();
    else upstream.once("connect", send);
  });
  socket.on("error", () => undefined);
  const listening = once(socket, "listening");
  socket.bind({ fd, exclusive: true });
  await listening;
  socket.unref();
  return {
    [Symbol.dispose]: () => {
      for (const key of [...clients.keys()]) drop(key);
      socket.close();
    },
  };
}

function isConnected(socket: UdpSocket): boolean {
  try {
    socket.remoteAddress();
    return true;
  } catch {
    return false;
  }
}
