// When a host port can't be had: who has it, and what Docker says then.
import { isKernelError, type KernelError } from "@portolan/kernel";
import { PluginError } from "@portolan/sdk";
import type { PortWish } from "./ports-plan.ts";
import type { EndpointRecord, PortRecord } from "./records.ts";

/** Endpoints of ours with a port that stands in the way of the whole range. */
export function rivalsOf(wish: PortWish, endpoints: readonly EndpointRecord[]): readonly EndpointRecord[] {
  const { protocol, hostAddresses, first, last } = wish;
  return endpoints.filter(({ ports = [] }) =>
    ports.some(
      (port) =>
        port.protocol === protocol && port.hostPort >= first && port.hostPort <= last && overlap(port, hostAddresses),
    ),
  );
}

function overlap({ hostAddresses }: PortRecord, others: readonly string[]): boolean {
  const isAny = (address: string) => address === "0.0.0.0" || address === "::";
  const family = (address: string) => address.includes(":");
  return hostAddresses.some((one) =>
    others.some((other) => family(one) === family(other) && (one === other || isAny(one) || isAny(other))),
  );
}

const REASONS: Readonly<Record<string, readonly [reason: string, hint: string]>> = {
  EADDRINUSE: ["address already in use", "Choose another port, or stop what uses it: ss -lnp shows it."],
  EADDRNOTAVAIL: ["cannot assign requested address", "Give an address of this host."],
  EPROTONOSUPPORT: ["protocol not supported", "Load the module: modprobe sctp."],
};

/** The words are Docker's, which users look for. Of a range it names the last port, as Docker does. */
export function refusal(wish: PortWish, error: KernelError, endpoints: readonly EndpointRecord[]): PluginError {
  const { protocol, hostAddresses, last } = wish;
  const [address = ""] = hostAddresses;
  const [rival] = error.code === "EADDRINUSE" ? rivalsOf({ ...wish, first: last }, endpoints) : [];
  if (rival) {
    // Without brackets, as Docker has it.
    return new PluginError(`Bind for ${address}:${last} failed: port is already allocated`, {
      hint: `Endpoint ${rival.id.slice(0, 12)} has it: "ts-bridge ports" shows all.`,
    });
  }
  const [reason, hint] = REASONS[error.code] ?? [error.message, undefined];
  const place = `${address.includes(":") ? `[${address}]` : address}:${last}`;
  // Of several addresses the kernel's error knows which one it was.
  const refused = isKernelError(error.cause) ? error.cause.device : undefined;
  return new PluginError(`failed to bind host port ${refused ?? `${place}/${protocol}`}: ${reason}`, {
    ...(hint !== undefined && { hint }),
  });
}
