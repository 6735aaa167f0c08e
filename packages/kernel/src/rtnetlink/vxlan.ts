// What a VXLAN link adds to a link's message, both ways.
import { isIPv6 } from "node:net";
import { ifla } from "netlink";
import type { Vxlan } from "../kernel.ts";
import { addressBytes, addressText, encode } from "./encode.ts";

export function encodeVxlan({ vni, local, port, learns }: Vxlan): Buffer {
  const address = addressBytes(local);
  return encode(
    ifla.formatVxlan({
      id: vni,
      ...(isIPv6(local) ? { local6: address } : { local: address }),
      port: bigEndian(port),
      learning: learns ? 1 : 0,
      proxy: learns ? 0 : 1,
    }),
  );
}

export function decodeVxlan(data: Buffer): Vxlan {
  const { id = 0, local, local6, port, learning } = ifla.parseVxlan(data);
  const address = local ?? local6;
  // The kernel does not tell an address that is none.
  return {
    vni: id,
    local: address ? addressText(address) : "::",
    port: port?.readUInt16BE(0) ?? 0,
    ...(learning === 1 && { learns: true }),
  };
}

function bigEndian(port: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(port);
  return bytes;
}
