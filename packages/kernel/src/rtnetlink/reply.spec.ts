// Replies byte by byte, as struct nlmsgerr and the extended ACK describe them (include/uapi/linux/netlink.h).
import { FlagsAck } from "netlink";
import { readAck, readDone } from "./reply.ts";

const frame = (data: Buffer, flags = 0) => ({ type: 2, flags, seq: 1, port: 0, data });
const errno = (value: number) => {
  const buffer = Buffer.alloc(4);
  buffer.writeInt32LE(value);
  return buffer;
};
/** struct nlmsghdr with this length; the rest does not matter here. */
const header = (length: number) => {
  const buffer = Buffer.alloc(16);
  buffer.writeUInt32LE(length);
  return buffer;
};
/** NLMSGERR_ATTR_OFFS and NLMSGERR_ATTR_MSG. */
const words = Buffer.concat([
  Buffer.from([8, 0, 2, 0, 28, 0, 0, 0]),
  Buffer.from([10, 0, 1, 0]),
  Buffer.from("wrong\0"),
  Buffer.alloc(2),
]);

describe("an ACK", () => {
  it("without an errno is a success", () => {
    expect(readAck(frame(Buffer.concat([errno(0), header(16)]), FlagsAck.CAPPED))).toEqual({ errno: 0 });
  });

  it("has the kernel's words behind the header of the request, when the kernel capped it to that", () => {
    const data = Buffer.concat([errno(-22), header(52), words]);
    expect(readAck(frame(data, FlagsAck.CAPPED | FlagsAck.ACK_TLVS))).toEqual({ errno: 22, message: "wrong" });
  });

  it("has them behind the whole request and its padding, when the kernel did not", () => {
    const data = Buffer.concat([errno(-17), header(21), Buffer.alloc(8), words]);
    expect(readAck(frame(data, FlagsAck.ACK_TLVS))).toEqual({ errno: 17, message: "wrong" });
  });

  it("may have an errno and no words", () => {
    expect(readAck(frame(Buffer.concat([errno(-19), header(32), Buffer.alloc(16)])))).toEqual({ errno: 19 });
  });
});

describe("the end of a dump", () => {
  it("tells that the dump failed half-way", () => {
    expect(readDone(frame(errno(-5)))).toEqual({ errno: 5 });
    expect(readDone(frame(Buffer.concat([errno(-5), words]), FlagsAck.ACK_TLVS))).toEqual({
      errno: 5,
      message: "wrong",
    });
  });

  it("is a success with an errno of 0, and without any", () => {
    expect(readDone(frame(errno(0)))).toEqual({ errno: 0 });
    expect(readDone(frame(Buffer.alloc(0)))).toEqual({ errno: 0 });
  });
});
