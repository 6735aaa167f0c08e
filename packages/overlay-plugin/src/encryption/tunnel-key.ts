// A host's key for the tunnels to other hosts, and the address inside them that follows from it.
import { createHash, generateKeyPairSync } from "node:crypto";
import ipaddr from "ipaddr.js";

/** The public half, as other hosts have to know it. */
export interface TunnelKey {
  /** 32 bytes in base64, as `wg` writes it. */
  readonly key: string;
  /** The UDP port of the tunnel that has it. */
  readonly port: number;
}

/** Of all addresses inside tunnels: unique local ones (RFC 4193), of which no host has any other. */
export const TUNNEL_ADDRESSES = "fd70:6f72:746f::/48";
const PREFIX = [0xfd, 0x70, 0x6f, 0x72, 0x74, 0x6f];
const KEY_LENGTH = 32;

/**
 * Follows from the public key alone: no two keys have the same, and nobody can tell the cluster that another's address is
 * where his own key is.
 */
export function tunnelAddress(key: string): string {
  const digest = createHash("sha256").update(Buffer.from(key, "base64")).digest();
  return ipaddr.fromByteArray([...PREFIX, ...digest.subarray(0, 16 - PREFIX.length)]).toString();
}

/** At random; whoever gets it is to forget it as soon as the kernel has it. */
export function newPrivateKey(): Buffer {
  const { d = "" } = generateKeyPairSync("x25519").privateKey.export({ format: "jwk" });
  return Buffer.from(d, "base64url");
}

/** What others wrote: undefined when it is no key. */
export function asTunnelKey(value: unknown): TunnelKey | undefined {
  const { key, port } = (value ?? {}) as Partial<TunnelKey>;
  if (typeof key !== "string" || Buffer.from(key, "base64").length !== KEY_LENGTH) return undefined;
  if (typeof port !== "number" || !Number.isInteger(port) || port < 1 || port > 65535) return undefined;
  return { key, port };
}
