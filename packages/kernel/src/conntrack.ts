// Makes Linux forget tracked flows: NAT is decided at a flow's first packet, and UDP flows live on long after a mapping changed.
import { parseAttributes } from "netlink";
import { isKernelError } from "./kernel-error.ts";
import type { Conntrack, Flows, LedFlows } from "./kernel.ts";
import { attribute, NESTED } from "./netlink-attribute.ts";
import { addressText, AF_INET, AF_INET6 } from "./rtnetlink/encode.ts";
import type { Requests } from "./rtnetlink/requests.ts";

const SUBSYSTEM = 1 << 8;
const CT_GET = SUBSYSTEM | 1;
const CT_DELETE = SUBSYSTEM | 2;
const CT_GET_STATS = SUBSYSTEM | 5;
const NFGENMSG_LENGTH = 4;
const CTA_TUPLE_ORIG = 1;
const CTA_TUPLE_REPLY = 2;
const CTA_ZONE = 18;
const CTA_STATS_GLOBAL_ENTRIES = 1;
const CTA_FILTER = 25;
const CTA_FILTER_ORIG_FLAGS = 1;
const CTA_TUPLE_IP = 1;
const CTA_IP_V4_SRC = 1;
const CTA_IP_V4_DST = 2;
const CTA_IP_V6_SRC = 3;
const CTA_IP_V6_DST = 4;
const CTA_TUPLE_PROTO = 2;
const CTA_PROTO_NUM = 1;
const CTA_PROTO_DST_PORT = 3;
/** Bits of CTA_FILTER_ORIG_FLAGS, in the kernel's nf_internals.h. */
const BY_PROTOCOL = 1 << 3;
const BY_DESTINATION_PORT = 1 << 5;
const AF_UNSPEC = 0;
const PROTOCOL_NUMBERS = { tcp: 6, udp: 17, sctp: 132 } as const;

export class NetlinkConntrack implements Conntrack {
  readonly #requests: Requests;
  readonly #few: number;

  /**
   * @param requests on a socket of NETLINK_NETFILTER
   * @param few so many flows are read sooner than the table is looked through once more: the kernel filters for one family at a time
   */
  constructor(requests: Requests, few = 500) {
    this.#requests = requests;
    this.#few = few;
  }

  async forget({ protocol, ports }: Flows): Promise<number> {
    const count = ports.length === 0 ? 0 : await this.#count();
    if (count === 0) return 0;
    const number = PROTOCOL_NUMBERS[protocol];
    const all = [header(AF_UNSPEC)];
    const questions = count <= this.#few ? all : [AF_INET, AF_INET6].map((family) => query(family, number, ports));
    return this.#deleteAmong(questions, (flow) => isAmong(flow, number, ports));
  }

  async forgetLed(flows: readonly LedFlows[]): Promise<number> {
    if (flows.length === 0 || (await this.#count()) === 0) return 0;
    const led = new Map(flows.map((each) => [flowKey(each), new Set(each.to)]));
    return this.#deleteAmong([header(AF_UNSPEC)], ({ protocol, destination, destinationPort, answering }) => {
      const to = led.get(destination) ?? led.get(`${protocol} ${destinationPort}`);
      return to?.has(answering) === false && (led.has(destination) || destination !== answering);
    });
  }

  /** @returns how many there were */
  async #deleteAmong(questions: readonly Buffer[], isDue: (flow: Flow) => boolean): Promise<number> {
    let count = 0;
    for (const payload of questions) {
      const found = await this.#requests.dump({ operation: "list tracked flows", type: CT_GET, payload });
      // Kernels before 5.8 do not filter, and several ports are one question.
      const deleted = await Promise.all(
        found
          .map(readFlow)
          .filter(isDue)
          .map((flow) => this.#delete(flow)),
      );
      count += deleted.filter(Boolean).length;
    }
    return count;
  }

  /**
   * Of this namespace. All share one table, and to be shown what is in it takes the kernel a look at every bucket, of which there
   * may be a quarter of a million: 10 ms each time.
   */
  async #count(): Promise<number> {
    const operation = "count tracked flows";
    const [answer] = await this.#requests.send({ operation, type: CT_GET_STATS, payload: header(AF_UNSPEC) });
    let count = Infinity;
    parseAttributes(answer?.subarray(NFGENMSG_LENGTH) ?? Buffer.alloc(0), ({ type, data }) => {
      if (type === CTA_STATS_GLOBAL_ENTRIES) count = data.readUInt32BE(0);
    });
    return count;
  }

  /** False when it has ended by itself meanwhile. */
  async #delete({ family, identity }: Flow): Promise<boolean> {
    const payload = Buffer.concat([header(family), ...identity.map(({ type, data }) => attribute(type, data))]);
    try {
      await this.#requests.send({ operation: "forget tracked flow", type: CT_DELETE, payload });
      return true;
    } catch (error) {
      if (isKernelError(error, "ENOENT")) return false;
      throw error;
    }
  }
}

const flowKey = (led: LedFlows) => ("address" in led ? led.address : `${PROTOCOL_NUMBERS[led.protocol]} ${led.port}`);

interface Flow {
  readonly family: number;
  readonly protocol: number;
  readonly destinationPort: number;
  /** Where its first packet was sent to, as an address. */
  readonly destination: string;
  /** Who answers: somebody else when NAT led it there. */
  readonly answering: string;
  /** The attributes that tell it from all others, as the kernel wrote them. */
  readonly identity: readonly { readonly type: number; readonly data: Buffer }[];
}

function query(family: number, protocol: number, ports: readonly number[]): Buffer {
  const [port = 0, ...more] = ports;
  const bits = more.length === 0 ? BY_PROTOCOL | BY_DESTINATION_PORT : BY_PROTOCOL;
  const flags = Buffer.alloc(4);
  flags.writeUInt32LE(bits);
  const portBytes = Buffer.alloc(2);
  portBytes.writeUInt16BE(port);
  const inner = Buffer.concat([
    attribute(CTA_PROTO_NUM, Buffer.from([protocol])),
    ...(more.length === 0 ? [attribute(CTA_PROTO_DST_PORT, portBytes)] : []),
  ]);
  return Buffer.concat([
    header(family),
    attribute(CTA_TUPLE_ORIG | NESTED, attribute(CTA_TUPLE_PROTO | NESTED, inner)),
    attribute(CTA_FILTER | NESTED, attribute(CTA_FILTER_ORIG_FLAGS, flags)),
  ]);
}

function readFlow(answer: Buffer): Flow {
  const identity: { type: number; data: Buffer }[] = [];
  const flow = { family: answer.readUInt8(0), protocol: 0, destinationPort: 0, destination: "", answering: "" };
  parseAttributes(answer.subarray(NFGENMSG_LENGTH), ({ type, data }) => {
    if (type === CTA_ZONE) identity.push({ type, data });
    if (type === CTA_TUPLE_REPLY)
      readParts(data, CTA_TUPLE_IP, [CTA_IP_V4_SRC, CTA_IP_V6_SRC], (bytes) => (flow.answering = addressText(bytes)));
    if (type !== CTA_TUPLE_ORIG) return;
    identity.push({ type: type | NESTED, data });
    readParts(data, CTA_TUPLE_IP, [CTA_IP_V4_DST, CTA_IP_V6_DST], (bytes) => (flow.destination = addressText(bytes)));
    readParts(data, CTA_TUPLE_PROTO, [CTA_PROTO_NUM], (bytes) => (flow.protocol = bytes.readUInt8(0)));
    readParts(data, CTA_TUPLE_PROTO, [CTA_PROTO_DST_PORT], (bytes) => (flow.destinationPort = bytes.readUInt16BE(0)));
  });
  return { ...flow, identity };
}

/** The fields of these types in one part of a tuple. */
function readParts(tuple: Buffer, part: number, fields: readonly number[], read: (bytes: Buffer) => void): void {
  parseAttributes(tuple, ({ type, data }) => {
    if (type !== part) return;
    parseAttributes(data, (field) => {
      if (fields.includes(field.type)) read(field.data);
    });
  });
}

function isAmong(flow: Flow, protocol: number, ports: readonly number[]): boolean {
  return flow.protocol === protocol && ports.includes(flow.destinationPort);
}

/** struct nfgenmsg: family, version, resource. */
const header = (family: number) => Buffer.from([family, 0, 0, 0]);
