// Netlink attributes by hand: npm netlink's own stream cannot set the flag NESTED, which newer kernels insist on.

/** Marks an attribute that holds others; to be added to its type. */
export const NESTED = 0x8000;

export function attribute(type: number, data: Buffer): Buffer {
  const length = 4 + data.length;
  const buffer = Buffer.alloc((length + 3) & ~3);
  buffer.writeUInt16LE(length, 0);
  buffer.writeUInt16LE(type, 2);
  data.copy(buffer, 4);
  return buffer;
}

export const nested = (type: number, ...parts: readonly Buffer[]) => attribute(type | NESTED, Buffer.concat(parts));
