// Random, mutilated and truncated requests: the decoders and a served driver answer each with a success or a reason.
import { mkdtempSync, rmSync } from "node:fs";
import { Agent, request } from "node:http";
import type { IncomingMessage } from "node:http";
import { once } from "node:events";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import type { IpamDriver } from "../ipam-driver.ts";
import * as listen from "../listen/index.ts";
import type { NetworkDriver } from "../network-driver.ts";
import { serve } from "../serve.ts";
import type { PluginServer } from "../serve.ts";
import { Cidr } from "../values.ts";
import type { PoolId } from "../values.ts";
import { ipamVerbs } from "../wire/ipam-verbs.ts";
import { networkVerbs } from "../wire/network-verbs.ts";
import { DecodeError, Place } from "../wire/place.ts";
import { recordedRequests } from "./replay/recordings.ts";

const DECODED = 10_000;
const SERVED = 1_500;
const CPU_LIMIT_S = 30;
/** No error may be as long as a request can be. */
const LONGEST_REASON = 1_000;

const VERBS = Object.fromEntries(
  Object.entries({ ...networkVerbs, ...ipamVerbs }).flatMap(([name, verb]) =>
    "decode" in verb ? [[name, verb.decode]] : [],
  ),
);
const recorded = recordedRequests("28.5").filter(({ body }) => body !== null);

/** Values that have broken parsers before. */
const nasty = fc.constantFrom<unknown>(
  ...[
    "",
    "\u0000",
    "__proto__",
    "10.0.0.1/33",
    "::/129",
    "999.1.1.1/8",
    "0x7f.1/8",
    "10.0.0.1/24/24",
    "fe80::1%eth0/64",
  ],
  ...[-1, 0.5, 65_536, 1e308, Number.MAX_SAFE_INTEGER, null, true, [], {}, [[]], "x".repeat(10_000), "🐳".repeat(500)],
);
const json = fc.oneof(nasty, fc.jsonValue({ maxDepth: 4 }));

/** A recorded request with one of its values, at any depth, replaced, doubled or taken away. */
const mutilated = fc
  .record({
    from: fc.constantFrom(...recorded),
    at: fc.nat(),
    by: json,
    how: fc.constantFrom("replace", "remove", "add"),
  })
  .map(({ from: { verb, body }, at, by, how }) => {
    const copy = structuredClone(body);
    const places = placesIn(copy);
    const [holder, key] = places[at % places.length]!;
    if (how === "replace") holder[key] = by;
    else if (how === "remove") Reflect.deleteProperty(holder, key);
    else holder[`${key}${key}`] = by;
    return { verb, body: copy };
  });

const invented = fc.record({ verb: fc.constantFrom(...Object.keys(VERBS)), body: json });

function placesIn(value: unknown): [holder: Record<string, unknown>, key: string][] {
  if (typeof value !== "object" || value === null) return [];
  const holder = value as Record<string, unknown>;
  return Object.keys(holder).flatMap(
    (key) => [[holder, key], ...placesIn(holder[key])] as [Record<string, unknown>, string][],
  );
}

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

test(`the decoders take ${DECODED} random requests or refuse them with a path, never otherwise`, () => {
  const began = cpuSeconds();
  let refused = 0;
  const property = fc.property(fc.oneof(mutilated, invented), ({ verb, body }) => {
    try {
      VERBS[verb]?.(body, Place.root());
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      expect(error.message).toMatch(/^[A-Za-z_[].*: ./s);
      expect(error.message.length).toBeLessThan(LONGEST_REASON);
      refused += 1;
    }
  });
  fc.assert(property, { numRuns: DECODED });
  expect(refused).toBeGreaterThan(DECODED / 10);
  expect(refused).toBeLessThan(DECODED);
  expect(cpuSeconds() - began).toBeLessThan(CPU_LIMIT_S);
});

test("the decoders take what is deep, wide or named after Object's own properties", () => {
  const deep = JSON.parse(`${"[".repeat(5_000)}${"]".repeat(5_000)}`) as unknown;
  const wide = Object.fromEntries(Array.from({ length: 50_000 }, (_, index) => [`key${index}`, "value"]));
  const own = JSON.parse(
    '{"__proto__":{"polluted":"yes"},"constructor":"x","toString":1,"hasOwnProperty":null}',
  ) as unknown;
  for (const [verb, decode] of Object.entries(VERBS)) {
    for (const body of [
      deep,
      wide,
      own,
      { NetworkID: "n", EndpointID: "e", Options: own },
      { NetworkID: "n", Options: wide },
    ]) {
      try {
        decode(body, Place.root());
      } catch (error) {
        expect({ verb, error }).toEqual({ verb, error: expect.any(DecodeError) as DecodeError });
      }
    }
  }
  expect(({} as Record<string, unknown>).polluted).toBeUndefined();
});

describe("a served driver that does nothing", () => {
  const nothing = () => Promise.resolve();
  const network: NetworkDriver = {
    capabilities: { scope: "local" },
    createNetwork: nothing,
    deleteNetwork: nothing,
    createEndpoint: () => Promise.resolve({}),
    deleteEndpoint: nothing,
    join: () => Promise.resolve({}),
    leave: nothing,
  };
  const ipam: IpamDriver = {
    addressSpaces: { local: "l", global: "g" },
    requestPool: () => Promise.resolve({ poolId: "l/10.0.0.0/24" as PoolId, pool: Cidr.parse("10.0.0.0/24") }),
    releasePool: nothing,
    requestAddress: () => Promise.resolve({ address: Cidr.parse("10.0.0.2/24") }),
    releaseAddress: nothing,
  };
  const folder = mkdtempSync(join(tmpdir(), "portolan-fuzz-"));
  const socketPath = join(folder, "driver.sock");
  const agent = new Agent({ keepAlive: true });
  let server: PluginServer;

  beforeAll(async () => {
    server = await serve({ network, ipam, listen: listen.unix(socketPath) });
    server.ready();
  });
  afterAll(async () => {
    agent.destroy();
    await server.close();
    rmSync(folder, { recursive: true });
  });

  async function post(verb: string, body: Uint8Array | string): Promise<{ status: number; text: string }> {
    const outgoing = request({
      agent,
      socketPath,
      method: "POST",
      path: `/${verb}`,
      headers: { "Content-Length": Buffer.byteLength(body) },
    });
    outgoing.end(body);
    const [incoming] = (await once(outgoing, "response")) as [IncomingMessage];
    let text = "";
    for await (const chunk of incoming) text += String(chunk);
    return { status: incoming.statusCode ?? 0, text };
  }

  function mustBeProper({ status, text }: { status: number; text: string }): void {
    const answer = JSON.parse(text) as Readonly<Record<string, unknown>>;
    if (status === 200) {
      expect(answer).not.toHaveProperty("Err");
      return;
    }
    expect(status).toBeGreaterThanOrEqual(400);
    expect(answer.Err).toEqual(expect.stringMatching(/./));
    expect(answer.Error).toBe(answer.Err);
    expect(String(answer.Err).length).toBeLessThan(LONGEST_REASON);
  }

  test(`answers ${SERVED} random, truncated and garbled bodies with a success or a reason`, async () => {
    const began = cpuSeconds();
    const truncated = fc
      .record({ from: fc.constantFrom(...recorded), share: fc.double({ min: 0, max: 1, noNaN: true }) })
      .map(({ from: { verb, body }, share }) => {
        const whole = Buffer.from(JSON.stringify(body));
        return { verb, body: whole.subarray(0, Math.floor(whole.length * share)) };
      });
    const garbled = fc.record({
      verb: fc.constantFrom(...Object.keys(VERBS)),
      body: fc.uint8Array({ maxLength: 200 }),
    });
    const encoded = fc
      .oneof(mutilated, invented)
      .map(({ verb, body }) => ({ verb, body: Buffer.from(JSON.stringify(body)) }));
    const property = fc.asyncProperty(fc.oneof(truncated, garbled, encoded), async ({ verb, body }) =>
      mustBeProper(await post(verb, body)),
    );
    await fc.assert(property, { numRuns: SERVED });
    expect(cpuSeconds() - began).toBeLessThan(CPU_LIMIT_S);
  }, 60_000);

  test("refuses a body of more than 1 MiB, and goes on", async () => {
    const { status } = await post("NetworkDriver.CreateNetwork", `{"NetworkID":"${"a".repeat(1024 * 1024)}"}`);
    expect(status).toBe(413);
    mustBeProper(await post("NetworkDriver.CreateNetwork", JSON.stringify({ NetworkID: "a" })));
  });

  test("outlives requests that break off, or are no HTTP", async () => {
    const head = "POST /NetworkDriver.Join HTTP/1.1\r\nHost:\r\nContent-Length: 500\r\n\r\n";
    for (const sent of [
      head,
      `${head}{"NetworkID":`,
      "POST /NetworkDriver.J",
      "\u0000\u0001",
      "GET / SPDY/3\r\n\r\n",
    ]) {
      const broken = connect(socketPath);
      await once(broken, "connect");
      broken.on("error", () => undefined);
      broken.end(sent);
      broken.resume();
      await once(broken, "close");
    }
    mustBeProper(await post("NetworkDriver.DeleteNetwork", JSON.stringify({ NetworkID: "a" })));
  });
});
