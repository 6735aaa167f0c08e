// One call: failures, what is taken back, the deadline, and who waits for whom.
import { setTimeout as sleep } from "node:timers/promises";
import type { CallContext, EndpointRequest, NetworkDriver } from "../network-driver.ts";
import { PluginError } from "../plugin-error.ts";
import { call, RawConnection } from "../spec-support/http-over-socket.ts";
import {
  createEndpointBody,
  createNetworkBody,
  ENDPOINT,
  endpointBody,
  NETWORK,
  nullNetwork,
} from "../spec-support/null-drivers.ts";
import { failure, rig } from "../spec-support/served.ts";
import { Cidr } from "../values.ts";

/** @param happened gets what the driver is asked for after an endpoint's creation */
function recording(happened: string[], createEndpoint: NetworkDriver["createEndpoint"]): NetworkDriver {
  const note = (what: string) => () => {
    happened.push(what);
    return Promise.resolve();
  };
  return nullNetwork({ createEndpoint, deleteEndpoint: note("taken back"), leave: note("left") });
}

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
  const network = recording(happened, async (_request, call) => {
    call.madeBefore?.();
    await sleep(60);
    happened.push("made before");
    return {};
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
    const network = recording(happened, async () => {
      await sleep(100);
      happened.push("made");
      return {};
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
