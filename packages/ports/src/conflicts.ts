// When a host port can't be had: who has it, and what Docker says then.
import { isKernelError, type KernelError } from "@portolan/kernel";
import { PluginError } from "@portolan/sdk";
import type { PortWish } from "./plan.ts";
import type { PortRecord, PublishingEndpoint } from "./records.ts";

/** Endpoints of ours with a port that stands in the way of the whole range. */
export function rivalsOf(wish: PortWish, endpoints: readonly PublishingEndpoint[]): readonly PublishingEndpoint[] {
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

export interface Holders {
  readonly endpoints: readonly PublishingEndpoint[];
  /** The driver's own command that shows all published ports. */
  readonly command: string;
  /** Who else of the driver's has a port, as a sentence; undefined when nobody has. */
  readonly holderOf?: ((wish: PortWish) => string | undefined) | undefined;
}

/** The words are Docker's, which users look for. Of a range it names the last port, as Docker does. */
export function refusal(wish: PortWish, error: KernelError, { endpoints, command, holderOf }: Holders): PluginError {
  const { protocol, hostAddresses, last } = wish;
  const [address = ""] = hostAddresses;
  if (error.code === "EADDRINUSE") {
    const final = { ...wish, first: last };
    const [rival] = rivalsOf(final, endpoints);
    const hint = rival ? `Endpoint ${rival.id.slice(0, 12)} has it: "${command}" shows all.` : holderOf?.(final);
    // Without brackets, as Docker has it.
    if (hint !== undefined)
      return new PluginError(`Bind for ${address}:${last} failed: port is already allocated`, { hint });
  }
  const [reason, hint] = REASONS[error.code] ?? [error.message, undefined];
  const place = `${address.includes(":") ? `[${address}]` : address}:${last}`;
  // Of several addresses the kernel's error knows which one it was.
  const refused = isKernelError(error.cause) ? error.cause.device : undefined;
  return new PluginError(`failed to bind host port ${refused ?? `${place}/${protocol}`}: ${reason}`, {
    ...(hint !== undefined && { hint }),
  });
}
