// What may be asked of a port reservation; the real kernel and the fake one ask before anything is opened.
import { isIP } from "node:net";
import { KernelError } from "./kernel-error.ts";
import type { PortRequest } from "./kernel.ts";

export const RESERVE = "reserve port";
export const RELAY = "relay port";

/** @throws KernelError EINVAL */
export function checkPortRequest(request: PortRequest): void {
  const { addresses, first, last = first } = request;
  const bad = (detail: string) =>
    new KernelError({ operation: RESERVE, device: portText(request), code: "EINVAL", detail });
  if (addresses.length === 0) throw bad("at least one host address is needed; 0.0.0.0 and :: stand for all of them");
  const stranger = addresses.find((address) => isIP(address) === 0);
  if (stranger !== undefined) throw bad(`"${stranger}" is not an IP address`);
  if (![first, last].every((port) => Number.isInteger(port) && port >= 1 && port <= 65535) || last < first)
    throw bad("ports are whole numbers from 1 to 65535, and a range ends no lower than it starts");
}

/** As in `8080-8090/tcp on 0.0.0.0, ::`. */
export function portText({ protocol, addresses, first, last = first }: PortRequest): string {
  const ports = first === last ? String(first) : `${first}-${last}`;
  return `${ports}/${protocol} on ${addresses.join(", ")}`;
}

/** @throws KernelError */
export function checkRelay(held: PortRequest, address: string): void {
  const refuse = (code: string, detail: string) =>
    new KernelError({ operation: RELAY, device: portText({ ...held, addresses: [address] }), code, detail });
  if (!held.addresses.includes(address)) throw refuse("EINVAL", "the port is not reserved on that address");
  if (held.protocol === "sctp") throw refuse("EPROTONOSUPPORT", "Node has no SCTP sockets");
}
