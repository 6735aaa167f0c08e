// Reserved ports, seen from other programs.
import { connect, createServer } from "node:net";
import { createSocket } from "node:dgram";
import { setTimeout as sleep } from "node:timers/promises";
import { SocketPorts } from "./port-reservation.ts";
import { output } from "./testing/command.ts";
import { inOwnNamespace } from "./testing/own-namespace.ts";

inOwnNamespace("a reserved port", () => {
  let ports: SocketPorts;
  beforeEach(() => {
    ports = new SocketPorts();
  });
  afterEach(() => {
    ports[Symbol.dispose]();
  });

  /** The code with which another program is refused. */
  const listenTcp = (port: number, host: string) =>
    new Promise<string | undefined>((resolve) => {
      const server = createServer();
      server.on("error", (error: NodeJS.ErrnoException) => resolve(error.code));
      server.listen(port, host, () => server.close(() => resolve(undefined)));
    });

  it("cannot be taken by another program, and can be when it is given back", async () => {
    const held = await ports.reserve({ protocol: "tcp", addresses: ["127.0.0.1"], first: 7001 });
    expect(await listenTcp(7001, "127.0.0.1")).toBe("EADDRINUSE");
    expect(await listenTcp(7001, "127.0.0.2")).toBeUndefined();
    held[Symbol.dispose]();
    expect(await listenTcp(7001, "127.0.0.1")).toBeUndefined();
  });

  it("is refused when another program has it", async () => {
    const server = createServer().listen(7002, "::");
    await sleep(20);
    const request = { protocol: "tcp", addresses: ["0.0.0.0"], first: 7002, last: 7003 } as const;
    expect((await ports.reserve(request)).port).toBe(7003);
    server.close();
  });

  it("answers nobody: a connection is neither accepted nor refused", async () => {
    await ports.reserve({ protocol: "tcp", addresses: ["127.0.0.1"], first: 7004 });
    const client = connect(7004, "127.0.0.1");
    const answer = new Promise<string>((resolve) => {
      client.on("connect", () => resolve("accepted"));
      client.on("error", (error) => resolve(error.message));
    });
    expect(await Promise.race([answer, sleep(300, "nothing")])).toBe("nothing");
    client.destroy();
  });

  it("keeps no datagrams", async () => {
    await ports.reserve({ protocol: "udp", addresses: ["127.0.0.1"], first: 7005 });
    const client = createSocket("udp4");
    for (let i = 0; i < 10; i += 1)
      await new Promise((resolve) => {
        client.send("x", 7005, "127.0.0.1", resolve);
      });
    client.close();
    expect(await output("ss -Hlun sport = :7005")).toMatch(/^UNCONN 0 /);
  });

  it("may be taken again right after connections to it were closed", async () => {
    const server = createServer((socket) => socket.end()).listen(7006, "127.0.0.1");
    await new Promise((resolve) => connect(7006, "127.0.0.1").resume().on("close", resolve));
    await new Promise((resolve) => server.close(resolve));
    expect(await output("ss -Htan state time-wait")).toContain(":7006");
    await expect(ports.reserve({ protocol: "tcp", addresses: ["127.0.0.1"], first: 7006 })).resolves.toMatchObject({
      port: 7006,
    });
  });

  it("of SCTP is real too, or the kernel says that it has no SCTP", async () => {
    const known = (await output("cat /proc/net/protocols")).includes("\nSCTP ");
    const request = ports.reserve({ protocol: "sctp", addresses: ["127.0.0.1"], first: 7007 });
    if (known) await expect(request).resolves.toMatchObject({ port: 7007 });
    else await expect(request).rejects.toMatchObject({ code: "EPROTONOSUPPORT" });
  });
});
