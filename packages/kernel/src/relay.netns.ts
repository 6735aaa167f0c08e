// What only real traffic can show: a reserved port that answers nothing, relays, and flows that are forgotten.
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { Protocol } from "netlink";
import { NetlinkConntrack } from "./conntrack.ts";
import type { Kernel, PortReservation, PortRequest } from "./kernel.ts";
import { openKernel } from "./open-kernel.ts";
import { Requests } from "./rtnetlink/requests.ts";
import { output } from "./testing/command.ts";
import { inOwnNamespace } from "./testing/own-namespace.ts";

inOwnNamespace("published ports", () => {
  let kernel: Kernel;
  let toClose: AsyncDisposableStack;

  beforeEach(async () => {
    kernel = await openKernel();
    toClose = new AsyncDisposableStack();
  });
  afterEach(async () => {
    await toClose.disposeAsync();
    await kernel[Symbol.asyncDispose]();
  });

  const reserve = (protocol: PortRequest["protocol"], addresses: readonly string[], port: number) =>
    kernel.ports.reserve({ protocol, addresses, first: port });

  /** Sends back what it gets, and ends when its client ends. */
  async function tcpEcho(address: string): Promise<number> {
    const server = createServer({ allowHalfOpen: true }, (socket) => socket.on("error", () => undefined).pipe(socket));
    server.listen(0, address);
    await once(server, "listening");
    toClose.defer(() => void server.close());
    return (server.address() as { port: number }).port;
  }

  async function tcpAsk(address: string, port: number, words: string, ms = 500): Promise<string> {
    const socket = connect(port, address);
    socket.setTimeout(ms, () => socket.destroy(new Error("silence")));
    socket.end(words);
    let answer = "";
    for await (const data of socket) answer += String(data);
    return answer;
  }

  async function udpEcho(address: string): Promise<number> {
    const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
    socket.on("message", (data, { port, address: from }) => socket.send(`${String(data)}!`, port, from));
    socket.bind(0, address);
    await once(socket, "listening");
    toClose.defer(() => void socket.close());
    return socket.address().port;
  }

  async function udpAsk(address: string, port: number, words: readonly string[], ms = 500): Promise<string[]> {
    const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const answers: string[] = [];
    socket.on("message", (data) => {
      answers.push(String(data));
      if (answers.length === words.length) resolve(undefined);
    });
    const clock = setTimeout(resolve, ms, undefined);
    for (const word of words) socket.send(word, port, address);
    await promise;
    clearTimeout(clock);
    socket.close();
    return answers.toSorted();
  }

  it("answer nothing while they are only reserved", async () => {
    await reserve("tcp", ["127.0.0.1"], 7001);
    await expect(tcpAsk("127.0.0.1", 7001, "hello")).rejects.toThrow("silence");
  });

  it("are reserved again at once after a connection through them has ended", async () => {
    const port = await tcpEcho("127.0.0.1");
    const first = await reserve("tcp", ["::"], 7002);
    await first.relay("::", { address: "127.0.0.1", port });
    expect(await tcpAsk("::1", 7002, "hello")).toBe("hello");
    first[Symbol.dispose]();
    const again = await reserve("tcp", ["::"], 7002);
    expect(again.port).toBe(7002);
  });

  it("are relayed to the other family, byte for byte and half closed", async () => {
    const port = await tcpEcho("127.0.0.1");
    const held = await reserve("tcp", ["0.0.0.0", "::"], 7003);
    await held.relay("::", { address: "127.0.0.1", port });
    const much = "portolan ".repeat(100_000);
    expect(await tcpAsk("::1", 7003, much, 5000)).toBe(much);
    // The other address is not served.
    await expect(tcpAsk("127.0.0.1", 7003, "hello")).rejects.toThrow("silence");
  });

  it("reset connections that the target refuses, and those that are open when they end", async () => {
    const held = await reserve("tcp", ["::1"], 7004);
    await held.relay("::1", { address: "127.0.0.1", port: 7999 });
    await expect(tcpAsk("::1", 7004, "hello")).rejects.toMatchObject({ code: "ECONNRESET" });

    const port = await tcpEcho("127.0.0.1");
    const other = await reserve("tcp", ["::1"], 7005);
    await other.relay("::1", { address: "127.0.0.1", port });
    const socket = connect(7005, "::1");
    socket.write("hello");
    await once(socket, "data");
    const reset = once(socket, "error");
    other[Symbol.dispose]();
    expect((await reset)[0]).toMatchObject({ code: "ECONNRESET" });
  });

  it("are relayed for UDP, each client to itself", async () => {
    const port = await udpEcho("127.0.0.1");
    const held = await reserve("udp", ["::"], 7006);
    await held.relay("::", { address: "127.0.0.1", port });
    const [one, two] = await Promise.all([udpAsk("::1", 7006, ["a", "b"]), udpAsk("::1", 7006, ["c"])]);
    expect(one).toEqual(["a!", "b!"]);
    expect(two).toEqual(["c!"]);
  });

  it("are reserved for SCTP where the kernel has it, and never relayed", async () => {
    let held: PortReservation;
    try {
      held = await reserve("sctp", ["127.0.0.1"], 7007);
    } catch (error) {
      expect(error).toMatchObject({ code: "EPROTONOSUPPORT" });
      return;
    }
    await expect(held.relay("127.0.0.1", { address: "127.0.0.1", port: 7 })).rejects.toMatchObject({
      code: "EPROTONOSUPPORT",
    });
  });

  it.each([
    ["read all together, where there are few", 500],
    ["asked for one family after the other, where there are more", 0],
  ])("lead known UDP clients elsewhere as soon as their flows are forgotten, %s", async (_how, few) => {
    using requests = new Requests({}, Protocol.NETFILTER);
    const conntrack = new NetlinkConntrack(requests, few);
    // Linux tracks flows from the day when the first rule asks for it.
    const rules = "table inet t { chain c { type nat hook output priority -100; ct state new return; }; }";
    await output("nft -f -", rules);
    toClose.defer(() => output("nft delete table inet t").then(() => undefined));
    const [old, fresh] = [await udpEcho("127.0.0.1"), await udpEcho("127.0.0.1")];
    const client = createSocket("udp4");
    client.bind(0, "127.0.0.1");
    await once(client, "listening");
    toClose.defer(() => void client.close());
    const senders: number[] = [];
    client.on("message", (_, { port }) => senders.push(port));
    const ask = async () => {
      const seen = senders.length;
      client.send("x", old, "127.0.0.1");
      for (let i = 0; i < 50 && senders.length === seen; i += 1) await new Promise((done) => setTimeout(done, 10));
    };
    const received = async (): Promise<boolean> => {
      const before = senders.length;
      await ask();
      return senders.length > before;
    };
    expect(await received()).toBe(true);
    await output(`nft insert rule inet t c udp dport ${old} redirect to :1`);
    expect(await received()).toBe(true);
    expect(await conntrack.forget({ protocol: "udp", ports: [fresh] })).toBe(0);
    expect(await conntrack.forget({ protocol: "tcp", ports: [old] })).toBe(0);
    expect(await conntrack.forget({ protocol: "udp", ports: [old] })).toBe(1);
    expect(await received()).toBe(false);
    expect(await conntrack.forget({ protocol: "udp", ports: [old, fresh] })).toBe(1);
  });
});
