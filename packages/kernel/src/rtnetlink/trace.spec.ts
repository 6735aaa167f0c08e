// What PORTOLAN_DEBUG_NETLINK shows.
import { Flags, FlagsAck, FlagsGet, FlagsNew, rt } from "netlink";
import { openTrace } from "./trace.ts";

const trace = (environment: NodeJS.ProcessEnv) => {
  const lines: string[] = [];
  return { lines, ...openTrace(environment, (line) => void lines.push(line)) };
};
const payload = Buffer.from([1, 2, 255]);

describe("the debug switch", () => {
  it("names types and flags of what is sent, by what they mean for that type", () => {
    const { lines, sent } = trace({ PORTOLAN_DEBUG_NETLINK: "1" });
    const create = Flags.REQUEST | Flags.ACK | FlagsNew.CREATE | FlagsNew.EXCL;
    sent({ type: rt.MessageType.NEWLINK, flags: create, seq: 7 }, payload, "create bridge pt-a");
    sent({ type: rt.MessageType.GETLINK, flags: Flags.REQUEST | FlagsGet.DUMP, seq: 8 }, payload, "list links");
    expect(lines).toEqual([
      "netlink > 7 NEWLINK REQUEST|ACK|EXCL|CREATE (create bridge pt-a) 0102ff\n",
      "netlink > 8 GETLINK REQUEST|ROOT|MATCH (list links) 0102ff\n",
    ]);
  });

  it("names what is received", () => {
    const { lines, received } = trace({ PORTOLAN_DEBUG_NETLINK: "1" });
    received({ type: 2, flags: FlagsAck.CAPPED | FlagsAck.ACK_TLVS, seq: 7, port: 1, data: payload });
    received({ type: 4242, flags: Flags.MULTI | Flags.DUMP_INTR, seq: 8, port: 1, data: payload });
    expect(lines).toEqual([
      "netlink < 7 ERROR CAPPED|ACK_TLVS 0102ff\n",
      "netlink < 8 type 4242 MULTI|DUMP_INTR 0102ff\n",
    ]);
  });

  it("is silent when it is off", () => {
    const { lines, sent } = trace({});
    sent({ type: 16, flags: 0, seq: 1 }, payload, "");
    expect(lines).toEqual([]);
  });
});
