// What queries are answered, beside the letter of the RFCs; dns-packet only writes and reads the bytes.
import { decode, encode, type Packet } from "dns-packet";
import { decide, type Asking } from "./answer.ts";
import type { Zone } from "./zone.ts";

const zone: Zone = {
  addresses: (network, name) =>
    network === "n1"
      ? { web: ["10.9.0.2", "10.9.0.3", "fd00::2"], "web.shop": ["10.9.0.2"], v4: ["10.9.0.4"], many: manyAddresses }[
          name
        ]
      : undefined,
  names: (network, address) =>
    network === "n1" && ["10.9.0.2", "fd00::2"].includes(address) ? ["web.shop", "web"] : [],
};
const manyAddresses = Array.from({ length: 200 }, (_, index) => `10.9.1.${String(index)}`);

const query = (name: string, type: string, more: Partial<Packet> = {}) =>
  encode({ type: "query", id: 77, flags: 0x100, questions: [{ name, type: type as "A" }], ...more });

const ofContainer: Asking = { networks: ["n1"], mayForward: true, transport: "udp" };

function answer(bytes: Buffer, asking: Asking = ofContainer) {
  const decision = decide(bytes, asking, zone);
  if (decision.kind !== "answer") throw new Error(`not answered: ${decision.kind}`);
  return { ...decode(decision.packet), bytes: decision.packet };
}

const data = (packet: ReturnType<typeof answer>) =>
  (packet.answers ?? []).map((record) => (record as { data: unknown }).data).sort();

describe("an answer", () => {
  it("holds the addresses of the asked family, for a second", () => {
    const packet = answer(query("web", "A"));
    expect(packet).toMatchObject({
      id: 77,
      type: "response",
      rcode: "NOERROR",
      flag_aa: true,
      flag_rd: true,
      flag_ra: true,
    });
    expect(data(packet)).toEqual(["10.9.0.2", "10.9.0.3"]);
    expect(packet.answers).toMatchObject([{ ttl: 1, name: "web" }, { ttl: 1 }]);
    expect(data(answer(query("web", "AAAA")))).toEqual(["fd00::2"]);
  });

  it("gives each of several addresses the first place now and then", () => {
    const first = () => (answer(query("web", "A")).answers?.[0] as { data: string }).data;
    expect(new Set(Array.from({ length: 64 }, first))).toEqual(new Set(["10.9.0.2", "10.9.0.3"]));
  });

  it("knows names in any case, and echoes the question as it was asked", () => {
    const packet = answer(query("wEb.SHOP", "A"));
    expect(packet.questions).toMatchObject([{ name: "wEb.SHOP" }]);
    expect(data(packet)).toEqual(["10.9.0.2"]);
  });

  it("is empty, without an error, where the name has no such record", () => {
    for (const type of ["AAAA", "TXT"])
      expect(answer(query("v4", type))).toMatchObject({ rcode: "NOERROR", answers: [] });
  });

  it("tells an address's names", () => {
    expect(data(answer(query("2.0.9.10.in-addr.arpa", "PTR")))).toEqual(["web", "web.shop"]);
    const nibbles = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
    expect(data(answer(query(nibbles, "PTR")))).toEqual(["web", "web.shop"]);
  });

  it("is cut to 512 bytes and says so, to what EDNS allows, and is whole over TCP", () => {
    const plain = answer(query("many", "A"));
    expect(plain.flag_tc).toBe(true);
    expect(plain.bytes.length).toBeLessThanOrEqual(512);
    const opt = {
      type: "OPT",
      name: ".",
      udpPayloadSize: 4096,
      flags: 0,
      ednsVersion: 0,
      extendedRcode: 0,
      options: [],
    };
    const extended = answer(query("many", "A", { additionals: [opt as never] }));
    expect(extended.bytes.length).toBeGreaterThan(512);
    expect(extended.bytes.length).toBeLessThanOrEqual(1232);
    expect(extended.additionals).toMatchObject([{ type: "OPT" }]);
    const whole = answer(query("many", "A"), { networks: ["n1"], mayForward: true, transport: "tcp" });
    expect(whole).toMatchObject({ flag_tc: false });
    expect(whole.answers).toHaveLength(200);
  });
});

describe("a query for what the zone does not know", () => {
  it("is forwarded", () => {
    for (const name of ["example.org", "nobody", "9.0.9.10.in-addr.arpa"])
      expect(decide(query(name, "A"), ofContainer, zone).kind).toBe("forward");
  });

  it("is refused in a network that may not ask others, so that dockerd asks its next server", () => {
    expect(answer(query("example.org", "A"), { networks: ["n1"], mayForward: false, transport: "udp" })).toMatchObject({
      rcode: "REFUSED",
      flag_aa: false,
    });
  });

  it("is refused to strangers: an open resolver serves attackers", () => {
    for (const name of ["web", "example.org"])
      expect(answer(query(name, "A"), { networks: [], mayForward: false, transport: "udp" })).toMatchObject({
        rcode: "REFUSED",
      });
  });
});

describe("what is no proper query", () => {
  it("gets no answer when it is a response or too short", () => {
    const response = encode({ type: "response", id: 1, questions: [{ name: "web", type: "A" }] });
    for (const bytes of [response, Buffer.alloc(0), Buffer.alloc(11)])
      expect(decide(bytes, ofContainer, zone).kind).toBe("silence");
  });

  it("is called malformed when its question can't be read, or there are several or none", () => {
    const cut = query("web", "A").subarray(0, 15);
    const two = encode({
      type: "query",
      id: 5,
      questions: [
        { name: "a", type: "A" },
        { name: "b", type: "A" },
      ],
    });
    const none = encode({ type: "query", id: 5, questions: [] });
    for (const bytes of [cut, two, none]) expect(answer(bytes)).toMatchObject({ rcode: "FORMERR", answers: [] });
    expect(answer(cut).id).toBe(77);
  });

  it("is told that other operations are not known", () => {
    const notify = query("web", "A");
    notify.writeUInt16BE(4 << 11, 2);
    expect(answer(notify)).toMatchObject({ rcode: "NOTIMP", opcode: "NOTIFY" });
  });

  it("never throws, whatever the bytes", () => {
    let seed = 7;
    const random = () => (seed = (seed * 1103515245 + 12345) % 2 ** 31) % 256;
    for (let round = 0; round < 5000; round += 1) {
      const bytes = query("web", "A");
      for (let change = 0; change < 4; change += 1) bytes[random() % bytes.length] = random();
      expect(() => decide(bytes, ofContainer, zone)).not.toThrow();
    }
  });
});
