// What goes over the wire: bodies, answers, and connections that stay.
import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { createServer as createNetServer, type Server as NetServer, type Socket } from "node:net";
import { PassThrough } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { from } from "../listen/from.ts";
import { createLogger, silentLogger } from "../logger.ts";
import { Metrics } from "../metrics.ts";
import type { CallContext } from "../network-driver.ts";
import { serve } from "../serve.ts";
import { call, RawConnection, requestHead } from "../spec-support/http-over-socket.ts";
import {
  createEndpointBody,
  createNetworkBody,
  endpointBody,
  NETWORK,
  nullNetwork,
} from "../spec-support/null-drivers.ts";
import { failure, rig } from "../spec-support/served.ts";
import { TemporaryDirectory } from "../spec-support/temporary-directory.ts";

describe("on the wire", () => {
  test("an empty Host and no Content-Type are fine, and the answer says how long it is", async () => {
    await using it = await rig({ network: nullNetwork() });
    const answer = await call(it.socket, "NetworkDriver.CreateNetwork", createNetworkBody);
    expect(answer).toMatchObject({ status: 200, text: "{}" });
    expect(answer.headers.get("content-length")).toBe("2");
  });

  test("at level debug every call is in the log with what was asked and what was answered", async () => {
    const stream = new PassThrough();
    await using it = await rig({
      network: nullNetwork(),
      logger: createLogger({ plugin: "ts-null", level: "debug", format: "json", stream }),
    });
    await call(it.socket, "NetworkDriver.GetCapabilities");
    await call(it.socket, "NetworkDriver.CreateNetwork", createNetworkBody);
    await call(it.socket, "NetworkDriver.DeleteNetwork", "{not json");
    const lines = String(stream.read())
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter(({ msg }) => msg === "transcript");
    expect(lines).toMatchObject([
      {
        verb: "NetworkDriver.GetCapabilities",
        request: "",
        status: 200,
        response: { Scope: "local", ConnectivityScope: "local" },
      },
      { verb: "NetworkDriver.CreateNetwork", request: createNetworkBody, status: 200, response: {} },
      { verb: "NetworkDriver.DeleteNetwork", request: "{not json", status: 400 },
    ]);
    // What a line repeats of the request is all there: the ids are not shortened.
    expect((lines[1]?.request as typeof createNetworkBody).NetworkID).toBe(NETWORK);
  });

  test("an unknown path is not found, and the answer is still one that dockerd can read", async () => {
    await using it = await rig({ network: nullNetwork(), name: "ts-null" });
    const answer = await call(it.socket, "NetworkDriver.Dance", {});
    expect(answer.status).toBe(404);
    expect(answer.json).toEqual(failure("ts-null: POST /NetworkDriver.Dance is not a verb of this plugin"));
  });

  test("a call without its body is refused, told apart and counted", async () => {
    const metrics = new Metrics();
    await using it = await rig({ network: nullNetwork(), metrics });
    const answer = await call(it.socket, "NetworkDriver.CreateEndpoint");
    expect(answer.status).toBe(400);
    expect(answer.json).toEqual(
      failure(expect.stringMatching(/without a body.*dropped connection.*Repeat the command/)),
    );
    expect(await metrics.text()).toContain('portolan_empty_body_retries_total{verb="NetworkDriver.CreateEndpoint"} 1');
  });

  test.each([
    ["not JSON", "{not json", /not JSON/],
    ["JSON of the wrong shape", "[]", /expected an object/],
    ["a wrong type inside", { ...createEndpointBody, Interface: 5 }, /Interface: expected an object, got 5/],
  ])("a body that is %s is refused with the reason", async (_what, body, reason) => {
    await using it = await rig({ network: nullNetwork() });
    const answer = await call(it.socket, "NetworkDriver.CreateEndpoint", body);
    expect(answer.status).toBe(400);
    expect(answer.json).toEqual(failure(expect.stringMatching(reason)));
  });

  test("a body of more than 1 MiB is refused, one just below is not", async () => {
    await using it = await rig({ network: nullNetwork() });
    const padded = (bytes: number) => ({ ...createNetworkBody, Options: { x: "x".repeat(bytes) } });
    expect(await call(it.socket, "NetworkDriver.CreateNetwork", padded(1_040_000))).toMatchObject({ status: 200 });
    expect(await call(it.socket, "NetworkDriver.CreateNetwork", padded(1_050_000))).toMatchObject({ status: 413 });
  });

  test("a caller that connects and goes, or goes in the middle of a call, is no error", async () => {
    const complaints: string[] = [];
    const complain = (msg: string) => complaints.push(msg);
    await using it = await rig({
      network: nullNetwork(),
      logger: { ...silentLogger, error: complain, warn: complain },
    });
    (await RawConnection.open(it.socket))[Symbol.dispose]();
    const half = await RawConnection.open(it.socket);
    half.write(`${requestHead("NetworkDriver.CreateNetwork", 100)}{"Netw`);
    await sleep(10);
    half[Symbol.dispose]();
    await half.closed;
    expect(await call(it.socket, "NetworkDriver.CreateNetwork", createNetworkBody)).toMatchObject({ status: 200 });
    expect(complaints).toEqual([]);
  });

  test("verbs that the driver leaves out get the answers dockerd expects", async () => {
    await using it = await rig({ network: nullNetwork() });
    const answers = await Promise.all([
      call(it.socket, "NetworkDriver.ProgramExternalConnectivity", endpointBody),
      call(it.socket, "NetworkDriver.RevokeExternalConnectivity", endpointBody),
      call(it.socket, "NetworkDriver.EndpointOperInfo", endpointBody),
      call(it.socket, "NetworkDriver.AllocateNetwork", { NetworkID: NETWORK, Options: { vni: "78" }, IPv6Data: null }),
      call(it.socket, "NetworkDriver.FreeNetwork", { NetworkID: NETWORK }),
    ]);
    expect(answers.map(({ status }) => status)).toEqual([404, 404, 200, 200, 200]);
    expect(answers.slice(2).map(({ json }) => json)).toEqual([{ Value: {} }, { Options: { vni: "78" } }, {}]);
  });
});

describe("idle connections", () => {
  /** The server's side of a connection on which one call was answered. */
  async function idleSocket(
    directory: TemporaryDirectory,
    start: (net: NetServer) => Promise<unknown>,
  ): Promise<Socket> {
    const net = createNetServer();
    await start(net);
    const accepted = once(net, "connection") as Promise<[Socket]>;
    await once(net.listen(directory.file("net.sock")), "listening");
    using connection = await RawConnection.open(directory.file("net.sock"));
    await connection.call("Plugin.Activate");
    net.close();
    const [socket] = await accepted;
    return socket;
  }

  // dockerd repeats a call without its body when the connection closes under its hands.
  test("have no timer that would close them, unlike those of a server as Node makes it", async () => {
    await using directory = await TemporaryDirectory.make();
    await using stack = new AsyncDisposableStack();
    const ours = await idleSocket(directory, async (net) => {
      stack.use(await serve({ network: nullNetwork(), listen: from(net) }));
    });
    expect(ours.timeout ?? 0).toBe(0);

    const plain = createHttpServer((_request, response) => response.setHeader("Content-Length", 2).end("{}"));
    const theirs = await idleSocket(directory, (net) => {
      net.on("connection", (socket) => plain.emit("connection", socket));
      return Promise.resolve();
    });
    expect(theirs.timeout).toBeGreaterThan(0);
  });

  test("serve call after call", async () => {
    await using it = await rig({ network: nullNetwork() });
    using connection = await RawConnection.open(it.socket);
    for (let round = 0; round < 3; round++) {
      const { status, headers } = await connection.call("NetworkDriver.CreateNetwork", createNetworkBody);
      expect(status).toBe(200);
      expect(headers.get("connection")).toBe("keep-alive");
      expect(headers.has("keep-alive")).toBe(false); // no hint of a timeout either
      await sleep(20);
    }
  });
});

test("fields that this version does not know reach the driver, and are told of once", async () => {
  const warnings: string[] = [];
  const logger = { ...silentLogger, warn: (msg: string) => warnings.push(msg) };
  const metrics = new Metrics();
  let context: CallContext | undefined;
  const leave = (_request: unknown, given: CallContext) => {
    context = given;
    return Promise.resolve();
  };
  await using it = await rig({ network: nullNetwork({ leave }), logger, metrics });
  await call(it.socket, "NetworkDriver.Leave", { ...endpointBody, Reason: "moved" });
  await call(it.socket, "NetworkDriver.Leave", { ...endpointBody, Reason: "again" });
  expect([...(context?.unknownFields ?? [])]).toEqual([["Reason", "again"]]);
  expect(warnings).toEqual(["fields that this version does not know: Reason"]);
  expect(await metrics.text()).toContain('portolan_unknown_fields_total{verb="NetworkDriver.Leave"} 2');
});
