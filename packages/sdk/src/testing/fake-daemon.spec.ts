// What the fake dockerd does when things go wrong, as far as no recording shows it.
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { RequestListener, Server } from "node:http";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as listen from "../listen/index.ts";
import { serve } from "../serve.ts";
import { FakeDaemon } from "./fake-daemon.ts";
import { referenceNetworkHost } from "./reference/network-driver.ts";
import { ScriptedDriver } from "./replay/scripted-driver.ts";

let folder: string;
let count = 0;
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), "portolan-fake-"))));
afterAll(() => rmSync(folder, { recursive: true }));
const nextSocket = (): string => join(folder, `${(count += 1)}.sock`);

/** A plugin that is whatever `answer` says. */
async function plugin(socket: string, answer: RequestListener): Promise<AsyncDisposable & { readonly server: Server }> {
  const server = createServer({ keepAliveTimeout: 0, requireHostHeader: false }, answer);
  server.listen(socket);
  await once(server, "listening");
  const close = async (): Promise<void> => {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  };
  return { server, [Symbol.asyncDispose]: close };
}

describe("FakeDaemon, when no answer comes,", () => {
  test("tries five times with pauses of 1, 2, 4 and 8 s, and gives up", async () => {
    await using daemon = new FakeDaemon({ socket: nextSocket(), timeScale: 0.01 });
    const began = performance.now();
    await expect(daemon.createNetwork("n1")).rejects.toThrow(/Plugin.Activate.*ENOENT/);
    expect(performance.now() - began).toBeGreaterThanOrEqual(150);
    expect(daemon.exchanges.map(({ attempt }) => attempt)).toEqual([1, 2, 3, 4, 5]);
    expect(daemon.networks.has("n1")).toBe(false);
  });

  test("repeats a call whose connection was refused with its body", async () => {
    const socket = nextSocket();
    await using daemon = new FakeDaemon({ socket, timeScale: 0.02, managed: true });
    const creating = daemon.createNetwork("n1", { options: { kept: "yes" } });
    await once(setTimeoutEmitter(30), "done");
    await using driver = await ScriptedDriver.listen(socket);
    await creating;
    const create = driver.received.find(({ verb }) => verb === "NetworkDriver.CreateNetwork");
    expect(create?.raw).toContain('"kept":"yes"');
  });

  test("repeats a call whose connection broke after the request with an empty body", async () => {
    const socket = nextSocket();
    const bodies: string[] = [];
    await using _plugin = await plugin(socket, (request, response) => {
      if (request.url === "/NetworkDriver.CreateNetwork") {
        let body = "";
        request.on("data", (chunk) => (body += String(chunk)));
        request.on("end", () => {
          bodies.push(body);
          if (bodies.length === 1) request.socket.destroy();
          else response.writeHead(400).end(JSON.stringify({ Err: "no body" }));
        });
        return;
      }
      response.end(
        JSON.stringify(request.url === "/Plugin.Activate" ? { Implements: ["NetworkDriver"] } : { Scope: "local" }),
      );
    });
    await using daemon = new FakeDaemon({ socket });
    await expect(daemon.createNetwork("n1")).rejects.toThrow("NetworkDriver.CreateNetwork: no body");
    expect(bodies).toEqual([expect.stringContaining("NetworkID"), ""]);
    expect(daemon.exchanges.slice(-2)).toMatchObject([
      { attempt: 1, lostBody: false },
      { attempt: 2, lostBody: true, status: 400 },
    ]);
  });

  test("tells the user that a container was removed, and writes what failed to its log", async () => {
    const socket = nextSocket();
    const driver = await ScriptedDriver.listen(socket);
    await using daemon = new FakeDaemon({ socket });
    await daemon.createNetwork("n1");
    await daemon.runContainer("c1", { network: "n1" });
    await driver[Symbol.asyncDispose]();
    await daemon.removeContainer("c1");
    await daemon.removeNetwork("n1");
    expect([daemon.networks.has("n1"), daemon.containers.has("c1")]).toEqual([false, false]);
    const lost = ["RevokeExternalConnectivity", "Leave", "DeleteEndpoint", "DeleteNetwork"];
    expect(daemon.log).toEqual(lost.map((verb) => expect.stringContaining(`NetworkDriver.${verb}`) as string));
  });

  test("finishes at its next start the removal of a network whose driver could not be loaded", async () => {
    const socket = nextSocket();
    const driver = await ScriptedDriver.listen(socket);
    await using daemon = new FakeDaemon({ socket });
    const { id } = await daemon.createNetwork("n1");
    await driver[Symbol.asyncDispose]();
    await daemon.restart("graceful");
    await expect(daemon.removeNetwork("n1")).rejects.toThrow("ENOENT");
    expect(daemon.networks.has("n1")).toBe(false);
    await using later = await ScriptedDriver.listen(socket);
    await daemon.restart("graceful");
    expect(later.received.at(-1)).toMatchObject({
      verb: "NetworkDriver.DeleteNetwork",
      raw: `{"NetworkID":"${id}"}\n`,
    });
  });
});

function setTimeoutEmitter(ms: number): EventTarget {
  const target = new EventTarget();
  setTimeout(() => target.dispatchEvent(new Event("done")), ms);
  return target;
}

describe("FakeDaemon, with connections that are kept,", () => {
  const CLOSES_AFTER_MS = 300;

  /** Calls, idles until just before a server would close the connection, and calls at that very moment. */
  async function callAtTheEdge(socket: string): Promise<FakeDaemon> {
    await using daemon = new FakeDaemon({ socket });
    await daemon.createNetwork("n1");
    await once(setTimeoutEmitter(CLOSES_AFTER_MS - 100), "done");
    // After an immediate the event loop looks at its timers first, and only then at its sockets: so the request leaves
    // now, the server's timer is due, and the server closes the connection without having read it.
    await new Promise((resolve) => setImmediate(resolve));
    const creating = daemon.createNetwork("n2").catch(() => undefined);
    for (let tick = 0; tick < 50; tick += 1) await new Promise<void>((resolve) => process.nextTick(resolve));
    const until = performance.now() + 150;
    while (performance.now() < until);
    await creating;
    return daemon;
  }

  test("loses the body of a call to a server that closes idle ones, as Node does by default", async () => {
    const socket = nextSocket();
    await using closing = await plugin(socket, (request, response) => {
      let length = 0;
      request.on("data", (chunk: Buffer) => (length += chunk.length));
      request.on("end", () => {
        const lost = request.url === "/NetworkDriver.CreateNetwork" && length === 0;
        if (lost) response.statusCode = 400;
        const answer = request.url === "/Plugin.Activate" ? { Implements: ["NetworkDriver"] } : { Scope: "local" };
        response.end(JSON.stringify(lost ? { Err: "lost its body" } : answer));
      });
    });
    closing.server.keepAliveTimeout = CLOSES_AFTER_MS;
    closing.server.keepAliveTimeoutBuffer = 0;
    const daemon = await callAtTheEdge(socket);
    expect(daemon.exchanges.slice(-2)).toMatchObject([
      {
        verb: "NetworkDriver.CreateNetwork",
        attempt: 1,
        error: expect.stringMatching(/hang up|ECONNRESET|EPIPE/) as string,
      },
      { verb: "NetworkDriver.CreateNetwork", attempt: 2, lostBody: true, status: 400 },
    ]);
    expect(daemon.networks.has("n2")).toBe(false);
  });

  test("loses nothing to serve(), which never closes one", async () => {
    const socket = nextSocket();
    const { network } = await referenceNetworkHost().start({ reach: () => undefined });
    await using server = await serve({ network, listen: listen.unix(socket) });
    server.ready();
    const daemon = await callAtTheEdge(socket);
    expect(daemon.exchanges.at(-1)).toMatchObject({
      verb: "NetworkDriver.CreateNetwork",
      attempt: 1,
      lostBody: false,
      status: 200,
    });
    expect(daemon.networks.has("n2")).toBe(true);
  });
});

describe("FakeDaemon", () => {
  async function using<Result>(
    options: { engine?: "20.10" | "26.1" | "28.5"; managed?: boolean },
    task: (daemon: FakeDaemon, driver: ScriptedDriver) => Promise<Result>,
  ): Promise<Result> {
    const socket = nextSocket();
    await using driver = await ScriptedDriver.listen(socket);
    await using daemon = new FakeDaemon({ socket, ...options });
    return await task(daemon, driver);
  }

  test("never activates a managed plugin, and registers it when it starts", async () => {
    await using({ managed: true, engine: "20.10" }, async (daemon) => {
      await daemon.createNetwork("n1");
      const registration = [
        "NetworkDriver.GetCapabilities",
        "IpamDriver.GetCapabilities",
        "IpamDriver.GetDefaultAddressSpaces",
      ];
      expect(daemon.verbs).toEqual([...registration, "NetworkDriver.CreateNetwork"]);
    });
  });

  test("takes a 404 for Program and Revoke only as not implemented", async () => {
    await using({}, async (daemon, driver) => {
      const verbs = ["ProgramExternalConnectivity", "RevokeExternalConnectivity"].map(
        (verb) => `NetworkDriver.${verb}`,
      );
      driver.script = { err: Object.fromEntries(verbs.map((verb) => [verb, "not here"])), errStatus: 404 };
      await daemon.createNetwork("n1");
      await daemon.runContainer("c1", { network: "n1" });
      await daemon.removeContainer("c1");
      expect(daemon.log).toEqual([]);
      driver.script = { err: { "NetworkDriver.Join": "not here" }, errStatus: 404 };
      await expect(daemon.runContainer("c2", { network: "n1" })).rejects.toThrow("NetworkDriver.Join: not here");
    });
  });

  test("forgets a crashed container without a word to a socket plugin that has no IPAM", async () => {
    await using({}, async (daemon) => {
      await daemon.createNetwork("n1");
      await daemon.runContainer("c1", { network: "n1" });
      const before = daemon.verbs.length;
      await daemon.restart("crash");
      expect(daemon.verbs.slice(before)).toEqual([]);
      const next = await daemon.runContainer("c2", { network: "n1" });
      expect(next.sandbox?.endpoints[0]?.address).toMatch(/\.0\.2\/16$/);
    });
  });

  test("cleans up after a crash where the plugin is managed", async () => {
    await using({ managed: true }, async (daemon) => {
      await daemon.createNetwork("n1");
      await daemon.runContainer("c1", { network: "n1" });
      const before = daemon.verbs.length;
      await daemon.restart("crash");
      const cleaned = ["RevokeExternalConnectivity", "Leave", "DeleteEndpoint"].map((verb) => `NetworkDriver.${verb}`);
      expect(daemon.verbs.slice(before)).toEqual([
        "NetworkDriver.GetCapabilities",
        "IpamDriver.GetCapabilities",
        ...cleaned,
      ]);
    });
  });

  test("loads a plugin after a live restore only when a container that lived on is stopped", async () => {
    await using({ engine: "26.1" }, async (daemon) => {
      await daemon.createNetwork("n1");
      await daemon.runContainer("c1", { network: "n1" });
      const before = daemon.verbs.length;
      await daemon.restart("live-restore");
      expect(daemon.verbs.slice(before)).toEqual([]);
      await daemon.stopContainer("c1");
      const registration = ["Plugin.Activate", "NetworkDriver.GetCapabilities", "IpamDriver.GetCapabilities"];
      const cleaned = ["RevokeExternalConnectivity", "Leave", "DeleteEndpoint"].map((verb) => `NetworkDriver.${verb}`);
      expect(daemon.verbs.slice(before)).toEqual([...registration, ...cleaned]);
    });
  });

  test("lets the priority decide on the gateway from 28 on, and the name before", async () => {
    const gatewayOn = (engine: "26.1" | "28.5"): Promise<string | undefined> =>
      using({ engine }, async (daemon) => {
        await daemon.createNetwork("a");
        await daemon.createNetwork("b");
        daemon.createContainer("c1", { network: "a" });
        await daemon.connect("b", "c1", { gwPriority: 5 });
        await daemon.startContainer("c1");
        return daemon.containers.get("c1")?.sandbox?.gateways[0]?.network.name;
      });
    expect([await gatewayOn("26.1"), await gatewayOn("28.5")]).toEqual(["a", "b"]);
  });

  test("prefers a network that is not internal for the gateway, whatever the driver answers", async () => {
    await using({ engine: "26.1" }, async (daemon) => {
      await daemon.createNetwork("a", { internal: true });
      await daemon.createNetwork("b");
      await daemon.runContainer("c1", { network: "a" });
      await daemon.connect("b", "c1");
      expect(daemon.containers.get("c1")?.sandbox?.gateways[0]?.network.name).toBe("b");
    });
  });

  test("tells an endpoint nothing of ports that Docker's own bridge has published, and Join everything", async () => {
    await using({}, async (daemon, driver) => {
      await daemon.createNetwork("n1");
      await daemon.runContainer("c1", { ports: [{ container: 80, host: 8080 }] });
      await daemon.connect("n1", "c1");
      const optionsOf = (method: string): unknown => {
        const raw = driver.received.find(({ verb }) => verb === `NetworkDriver.${method}`)?.raw ?? "{}";
        return (JSON.parse(raw) as { Options: unknown }).Options;
      };
      expect(optionsOf("CreateEndpoint")).toEqual({});
      expect(optionsOf("Join")).toEqual({
        "com.docker.network.endpoint.exposedports": [{ Proto: 6, Port: 80 }],
        "com.docker.network.portmap": [{ Proto: 6, IP: "", Port: 80, HostIP: "", HostPort: 8080, HostPortEnd: 8080 }],
      });
    });
  });

  test("keeps the first pool of a network whose second failed on 28.5, and gives it back before", async () => {
    const again = (engine: "26.1" | "28.5"): Promise<string> =>
      using({ engine }, async (daemon) => {
        const subnets = [{ subnet: "10.9.0.0/16" }, { subnet: "10.9.1.0/24" }];
        await expect(daemon.createNetwork("n1", { subnets })).rejects.toThrow("Pool overlaps");
        const second = daemon.createNetwork("n2", { subnets: [{ subnet: "10.9.0.0/16" }] });
        return second.then(
          () => "free",
          () => "taken",
        );
      });
    expect([await again("26.1"), await again("28.5")]).toEqual(["free", "taken"]);
  });

  test("hands over the gateway in the order Revoke, Leave, Program, DeleteEndpoint", async () => {
    await using({}, async (daemon) => {
      await daemon.createNetwork("a");
      await daemon.createNetwork("b");
      const { sandbox } = await daemon.runContainer("c1", { network: "a" });
      await daemon.connect("b", "c1");
      const [first, second] = sandbox!.endpoints.map(({ id }) => id);
      const before = daemon.exchanges.length;
      await daemon.stopContainer("c1");
      const calls = daemon.exchanges
        .slice(before)
        .map(({ verb, body }) => [verb.slice("NetworkDriver.".length), (body as { EndpointID: string }).EndpointID]);
      expect(calls).toEqual([
        ["RevokeExternalConnectivity", first],
        ["Leave", first],
        ["ProgramExternalConnectivity", second],
        ["DeleteEndpoint", first],
        ["RevokeExternalConnectivity", second],
        ["Leave", second],
        ["DeleteEndpoint", second],
      ]);
    });
  });

  test("makes the endpoints of one network one after the other, and lets everything else run at once", async () => {
    const socket = nextSocket();
    let creating = 0;
    let joining = 0;
    let most = { creating: 0, joining: 0 };
    await using _plugin = await plugin(socket, (request, response) => {
      const verb = request.url ?? "";
      request.resume();
      if (verb.endsWith("CreateEndpoint")) creating += 1;
      if (verb.endsWith("Join")) joining += 1;
      most = { creating: Math.max(most.creating, creating), joining: Math.max(most.joining, joining) };
      setTimeout(
        () => {
          if (verb.endsWith("CreateEndpoint")) creating -= 1;
          if (verb.endsWith("Join")) joining -= 1;
          response.end(
            JSON.stringify(verb === "/Plugin.Activate" ? { Implements: ["NetworkDriver"] } : { Scope: "local" }),
          );
        },
        verb.endsWith("Join") ? 60 : 2,
      );
    });
    await using daemon = new FakeDaemon({ socket });
    await daemon.createNetwork("n1");
    await Promise.all(["c1", "c2", "c3", "c4"].map((name) => daemon.runContainer(name, { network: "n1" })));
    expect(most.creating).toBe(1);
    expect(most.joining).toBeGreaterThan(1);
  });

  test("gives up on an IPAM driver that offers a refused pool for ever, where a real one would not", async () => {
    const socket = nextSocket();
    await using _plugin = await plugin(socket, (request, response) => {
      request.resume();
      const answers: Record<string, unknown> = {
        "/Plugin.Activate": { Implements: ["IpamDriver"] },
        "/IpamDriver.GetDefaultAddressSpaces": { LocalDefaultAddressSpace: "l", GlobalDefaultAddressSpace: "g" },
        "/IpamDriver.RequestPool": { PoolID: "l/10.0.0.0/24", Pool: "10.0.0.0/24" },
      };
      response.end(JSON.stringify(answers[request.url ?? ""] ?? {}));
    });
    await using daemon = new FakeDaemon({ socket, hostRoutes: ["10.0.0.0/8"] });
    await expect(daemon.createNetwork("n1", { driver: "bridge", ipam: "plugin" })).rejects.toThrow(/never ends here/);
  });
});
