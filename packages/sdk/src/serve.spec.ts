import { once } from "node:events";
import { existsSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { createServer as createNetServer, type Server as NetServer, type Socket } from "node:net";
import { PassThrough } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { from } from "./listen/from.ts";
import { unix } from "./listen/unix.ts";
import { createLogger, silentLogger } from "./logger.ts";
import { Metrics } from "./metrics.ts";
import type { CallContext, EndpointRequest, NetworkDriver } from "./network-driver.ts";
import { PluginError } from "./plugin-error.ts";
import { serve, type PluginServer, type ServeOptions } from "./serve.ts";
import { call, RawConnection, requestHead } from "./spec-support/http-over-socket.ts";
import {
  createEndpointBody,
  createNetworkBody,
  ENDPOINT,
  endpointBody,
  NETWORK,
  nullIpam,
  nullNetwork,
} from "./spec-support/null-drivers.ts";
import { TemporaryDirectory } from "./spec-support/temporary-directory.ts";
import { Cidr } from "./values.ts";

interface Rig extends AsyncDisposable {
  readonly socket: string;
  readonly server: PluginServer;
}

/** A server on a socket of its own, ready unless told otherwise. */
async function rig(options: Omit<ServeOptions, "listen">, ready = true): Promise<Rig> {
  await using stack = new AsyncDisposableStack();
  const directory = stack.use(await TemporaryDirectory.make());
  const socket = directory.file("plugin.sock");
  const server = await serve({ ...options, listen: unix(socket) });
  stack.defer(() => server.close({ drainMs: 0 }));
  if (ready) server.ready();
  const kept = stack.move();
  return { socket, server, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

/** Waits until nothing is at the path any more. */
async function gone(path: string): Promise<void> {
  while (existsSync(path)) await sleep(1);
}

const failure = (message: unknown) => ({ Err: message, Error: message });

describe("the handshake", () => {
  test.each([
    ["a network driver", { network: nullNetwork() }, ["NetworkDriver"]],
    ["an IPAM driver", { ipam: nullIpam() }, ["IpamDriver"]],
    ["both through one socket", { network: nullNetwork(), ipam: nullIpam() }, ["NetworkDriver", "IpamDriver"]],
  ])("announces %s", async (_what, drivers, Implements) => {
    await using it = await rig(drivers);
    expect((await call(it.socket, "Plugin.Activate")).json).toEqual({ Implements });
  });

  test("and a vocabulary that is not served is unknown", async () => {
    await using it = await rig({ network: nullNetwork() });
    expect(await call(it.socket, "IpamDriver.GetCapabilities")).toMatchObject({ status: 404 });
  });

  test("is answered before the driver is ready, everything else waits", async () => {
    await using it = await rig({ network: nullNetwork(), ipam: nullIpam() }, false);
    for (const verb of [
      "Plugin.Activate",
      "NetworkDriver.GetCapabilities",
      "IpamDriver.GetCapabilities",
      "IpamDriver.GetDefaultAddressSpaces",
    ]) {
      expect(await call(it.socket, verb)).toMatchObject({ status: 200 });
    }
    let answered = false;
    const waiting = call(it.socket, "NetworkDriver.CreateNetwork", createNetworkBody).then((answer) => {
      answered = true;
      return answer;
    });
    await sleep(30);
    expect(answered).toBe(false);
    it.server.ready();
    expect(await waiting).toMatchObject({ status: 200, json: {} });
  });

  test("refuses to serve nothing", async () => {
    await expect(rig({})).rejects.toThrow(/nothing to serve/);
  });

  test("refuses a driver without a verb that dockerd needs", async () => {
    await expect(rig({ network: { ...nullNetwork(), leave: undefined } as unknown as NetworkDriver })).rejects.toThrow(
      /no method leave/,
    );
  });
});

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

describe("a driver that fails", () => {
  test("is quoted under both keys, with what was tried on what", async () => {
    const network = nullNetwork({
      createNetwork: () =>
        Promise.reject(new PluginError('option "mtu": 9001 exceeds uplink eth0 (1500)', { hint: "Use 1500 or less." })),
    });
    await using it = await rig({ network, name: "ts-null" });
    const answer = await call(it.socket, "NetworkDriver.CreateNetwork", createNetworkBody);
    expect(answer.status).toBe(500);
    expect(answer.json).toEqual(
      failure('ts-null: create network 0123456789ab: option "mtu": 9001 exceeds uplink eth0 (1500). Use 1500 or less.'),
    );
  });

  test.each([
    [
      "throws at once",
      () => {
        throw new TypeError("x is not a function");
      },
      "create network 0123456789ab: x is not a function",
    ],
    [
      "rejects with no error at all",
      () => Promise.reject(undefined as unknown as Error),
      "create network 0123456789ab: an error without a message was thrown",
    ],
  ])("does not take the server down when it %s", async (_how, createNetwork, message) => {
    await using it = await rig({ network: nullNetwork({ createNetwork }) });
    expect((await call(it.socket, "NetworkDriver.CreateNetwork", createNetworkBody)).json).toEqual(failure(message));
    expect(await call(it.socket, "Plugin.Activate")).toMatchObject({ status: 200 });
  });

  test("at EndpointOperInfo is answered as if it had not, since 20.10 and 26.1 would stop the container", async () => {
    const endpointInfo = () => Promise.reject(new Error("nothing known"));
    await using it = await rig({ network: nullNetwork({ endpointInfo }) });
    const answer = await call(it.socket, "NetworkDriver.EndpointOperInfo", endpointBody);
    expect(answer).toMatchObject({ status: 200, json: { Value: {} } });
  });

  test("to answer CreateEndpoint acceptably is told to delete it, as dockerd will not", async () => {
    const deleted: EndpointRequest[] = [];
    const deleteEndpoint = (request: EndpointRequest) => {
      deleted.push(request);
      return Promise.resolve();
    };
    const createEndpoint = () => Promise.resolve({ interface: { address: Cidr.parse("10.40.0.9/24") } });
    await using it = await rig({ network: nullNetwork({ createEndpoint, deleteEndpoint }) });
    expect(await call(it.socket, "NetworkDriver.CreateEndpoint", createEndpointBody)).toMatchObject({ status: 500 });
    expect(deleted).toMatchObject([{ networkId: NETWORK, endpointId: ENDPOINT }]);
  });
});

test("an endpoint that was made for a dockerd that has died meanwhile is taken back", async () => {
  const started = Promise.withResolvers<undefined>();
  const hungUp = Promise.withResolvers<undefined>();
  const deleted = Promise.withResolvers<EndpointRequest>();
  const network = nullNetwork({
    createEndpoint: async () => {
      started.resolve(undefined);
      await hungUp.promise;
      return {};
    },
    deleteEndpoint: (request) => {
      deleted.resolve(request);
      return Promise.resolve();
    },
  });
  await using it = await rig({ network });
  const dockerd = await RawConnection.open(it.socket);
  dockerd.send("NetworkDriver.CreateEndpoint", createEndpointBody);
  await started.promise;
  dockerd[Symbol.dispose]();
  await dockerd.closed;
  await sleep(50); // the server's side learns of it in its own time
  hungUp.resolve(undefined);
  expect(await deleted.promise).toMatchObject({ endpointId: ENDPOINT });
});

test("an endpoint that was there before the call is not taken back, whoever hangs up", async () => {
  const happened: string[] = [];
  const network = nullNetwork({
    createEndpoint: async (_request, call) => {
      call.madeBefore?.();
      await sleep(60);
      happened.push("made before");
      return {};
    },
    deleteEndpoint: () => {
      happened.push("taken back");
      return Promise.resolve();
    },
    leave: () => {
      happened.push("left");
      return Promise.resolve();
    },
  });
  await using it = await rig({ network, deadlineMs: 30 });
  expect(await call(it.socket, "NetworkDriver.CreateEndpoint", createEndpointBody)).toMatchObject({ status: 500 });
  expect(await call(it.socket, "NetworkDriver.Leave", endpointBody)).toMatchObject({ status: 200 });
  expect(happened).toEqual(["made before", "left"]);
});

describe("the deadline", () => {
  test("gives dockerd an error and the driver an aborted signal", async () => {
    let seen: CallContext | undefined;
    const createNetwork = (_request: unknown, context: CallContext) => {
      seen = context;
      return new Promise<void>(() => undefined);
    };
    await using it = await rig({ network: nullNetwork({ createNetwork }), deadlineMs: 50 });
    const answer = await call(it.socket, "NetworkDriver.CreateNetwork", createNetworkBody);
    expect(answer.status).toBe(500);
    expect(answer.json).toEqual(failure("create network 0123456789ab: no answer within 0.05 s"));
    expect(seen).toMatchObject({ verb: "NetworkDriver.CreateNetwork", signal: { aborted: true } });
  });

  test("makes a success that came too late be taken back, before the next call on the endpoint runs", async () => {
    const happened: string[] = [];
    const network = nullNetwork({
      createEndpoint: async () => {
        await sleep(100);
        happened.push("made");
        return {};
      },
      deleteEndpoint: () => {
        happened.push("taken back");
        return Promise.resolve();
      },
      leave: () => {
        happened.push("left");
        return Promise.resolve();
      },
    });
    await using it = await rig({ network, deadlineMs: 60 });
    expect(await call(it.socket, "NetworkDriver.CreateEndpoint", createEndpointBody)).toMatchObject({ status: 500 });
    expect(await call(it.socket, "NetworkDriver.Leave", endpointBody)).toMatchObject({ status: 200 });
    expect(happened).toEqual(["made", "taken back", "left"]);
  });

  test("covers waiting for readiness, and the error tells what the plugin waits for", async () => {
    await using it = await rig({ network: nullNetwork(), deadlineMs: 30 }, false);
    it.server.notReady("loading 4000 endpoints");
    const answer = await call(it.socket, "NetworkDriver.Leave", endpointBody);
    expect(answer.status).toBe(500);
    expect(answer.json).toEqual(failure(expect.stringContaining("not ready: loading 4000 endpoints")));
  });

  test("covers waiting for a lock, and the error tells who holds it", async () => {
    const createNetwork = () => new Promise<void>(() => undefined);
    await using it = await rig({ network: nullNetwork({ createNetwork }), deadlineMs: 40 });
    void call(it.socket, "NetworkDriver.CreateNetwork", createNetworkBody);
    await sleep(20);
    const answer = await call(it.socket, "NetworkDriver.Leave", endpointBody);
    expect(answer.json).toEqual(
      failure(expect.stringMatching(/waited .* held by NetworkDriver.CreateNetwork \(call 1\)/)),
    );
  });
});

describe("calls exclude each other", () => {
  const slow = () => {
    const running = new Set<string>();
    const together: string[][] = [];
    const verb = (name: string) => async () => {
      running.add(name);
      together.push([...running].sort());
      await sleep(20);
      running.delete(name);
    };
    return { verb, together };
  };
  const reply = (work: () => Promise<void>) => async () => {
    await work();
    return {};
  };

  test("endpoints of one network run side by side, one endpoint's calls one after the other", async () => {
    const { verb, together } = slow();
    await using it = await rig({
      network: nullNetwork({
        createEndpoint: reply(verb("create")),
        join: reply(verb("join")),
        leave: verb("leave"),
      }),
    });
    const other = { ...endpointBody, EndpointID: "other" };
    await Promise.all([
      call(it.socket, "NetworkDriver.CreateEndpoint", createEndpointBody),
      call(it.socket, "NetworkDriver.Join", endpointBody),
      call(it.socket, "NetworkDriver.Leave", other),
    ]);
    expect(together).not.toContainEqual(expect.arrayContaining(["create", "join"]));
    expect(together).toContainEqual(expect.arrayContaining(["leave"]));
    expect(together.some((names) => names.length === 2)).toBe(true);
  });

  test("nothing runs beside the creation or removal of its network", async () => {
    const { verb, together } = slow();
    const network = nullNetwork({
      createEndpoint: reply(verb("create")),
      join: reply(verb("join")),
      deleteNetwork: verb("delete network"),
    });
    await using it = await rig({ network });
    await Promise.all([
      call(it.socket, "NetworkDriver.CreateEndpoint", createEndpointBody),
      call(it.socket, "NetworkDriver.DeleteNetwork", { NetworkID: NETWORK }),
      call(it.socket, "NetworkDriver.Join", { ...endpointBody, EndpointID: "other" }),
    ]);
    expect(together.filter((names) => names.includes("delete network"))).toEqual([["delete network"]]);
  });
});

describe("closing", () => {
  test("lets running calls finish, and their answer ends the connection", async () => {
    const started = Promise.withResolvers<undefined>();
    const finish = Promise.withResolvers<undefined>();
    const createNetwork = async () => {
      started.resolve(undefined);
      await finish.promise;
    };
    await using it = await rig({ network: nullNetwork({ createNetwork }) });
    using connection = await RawConnection.open(it.socket);
    connection.send("NetworkDriver.CreateNetwork", createNetworkBody);
    await started.promise;
    const closed = it.server.close();
    await gone(it.socket);
    await expect(RawConnection.open(it.socket)).rejects.toMatchObject({ code: "ENOENT" });
    finish.resolve(undefined);
    const answer = await connection.answer();
    expect(answer.status).toBe(200);
    expect(answer.headers.get("connection")).toBe("close");
    await closed;
    await connection.closed;
  });

  test("tells calls to stop that outlast the drain, answers them, and ends idle connections too", async () => {
    let undone = false;
    const createNetwork = (_request: unknown, { signal }: CallContext) =>
      new Promise<void>((_resolve, reject) => {
        signal.addEventListener("abort", () => {
          undone = true;
          reject(signal.reason as Error);
        });
      });
    await using it = await rig({ network: nullNetwork({ createNetwork }) });
    using idle = await RawConnection.open(it.socket);
    await idle.call("Plugin.Activate");
    using busy = await RawConnection.open(it.socket);
    busy.send("NetworkDriver.CreateNetwork", createNetworkBody);
    await sleep(20);
    await it.server.close({ drainMs: 20 });
    expect((await busy.answer()).json).toEqual(failure("create network 0123456789ab: the plugin is stopping"));
    expect(undone).toBe(true);
    await Promise.all([idle.closed, busy.closed]);
  });

  test("happens once, however often it is asked for", async () => {
    await using it = await rig({ network: nullNetwork() });
    expect(it.server.close()).toBe(it.server.close());
    await it.server[Symbol.asyncDispose]();
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
