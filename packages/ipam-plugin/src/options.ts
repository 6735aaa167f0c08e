// The options of a pool (docker network create --ipam-opt): one table gives type, parser, errors and the README's table.
import { integer, label, oneOf, option, optionTable, type OptionType, type ValuesOf } from "@portolan/sdk";
import { parseDefaultPools, type DefaultPool } from "./addresses/default-pools.ts";
import { lastOf, parseAddress, parsePrefix, type Address } from "./addresses/ip.ts";
import { present } from "./addresses/present.ts";

/** Addresses from first to last, both included. */
interface AddressRange {
  readonly first: Address;
  readonly last: Address;
}

const UNITS: Readonly<Record<string, number>> = { "": 1000, ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** A length of time, in milliseconds. */
const duration: OptionType<number> = {
  allowed: "a time such as 60s, 5m or 1h, or 0 for none",
  parse: (given) => {
    const match = /^(?<count>\d{1,9})(?<unit>|ms|s|m|h|d)$/.exec(given);
    return match ? Number(match.groups?.count) * present(UNITS[match.groups?.unit ?? ""]) : undefined;
  },
};

/** `10.0.0.1-10.0.0.20,10.0.0.99,10.0.0.128/28` */
const addressRanges: OptionType<readonly AddressRange[]> = {
  allowed: "addresses, ranges of them and subnets such as 10.0.0.1-10.0.0.20,10.0.0.99,10.0.0.128/28",
  parse: (given) => orUndefined(() => given.split(",").map((part) => addressRange(part.trim()))),
};

export const defaultPools: OptionType<readonly DefaultPool[]> = {
  allowed: "pools such as 10.64.0.0/10,size=24, several joined by semicolons",
  parse: (given) => orUndefined(() => parseDefaultPools(given)),
};

export const RESERVE = "portolan.reserve";

export const poolOptions = optionTable(
  {
    quarantine: option({
      keys: ["portolan.quarantine"],
      type: duration,
      default: 60_000,
      defaultText: "60s",
      help: "How long a freed address rests before another container gets it, unless no other is left.",
    }),
    sticky: option({
      keys: ["portolan.sticky"],
      type: oneOf("no", "mac", "name"),
      default: "no",
      help: "Give an address back to the container that had it before, known by its MAC address or by its name, which Docker up to 28.5 does not tell.",
    }),
    reserve: option({
      keys: [RESERVE],
      type: addressRanges,
      defaultText: "none",
      help: "Never chosen, but free to be asked for with --ip, --gateway or --aux-address. Entries outside the subnet are for the network's other subnets.",
    }),
    defaultPool: option({
      keys: ["portolan.default-pool"],
      type: defaultPools,
      defaultText: "the plugin's --default-pool",
      help: "Where to choose the subnet from when there is no --subnet.",
    }),
    network: option({
      keys: ["portolan.network"],
      type: label,
      defaultText: "none",
      help: "Share the subnet with all hosts that name the same group; needs PORTOLAN_STORE.",
    }),
    block: option({
      keys: ["portolan.block"],
      type: integer(8, 126),
      defaultText: "26 for IPv4, 122 for IPv6",
      help: "Prefix length of the blocks in which hosts claim the addresses of a shared subnet; up to 32 it counts for IPv4, above for IPv6.",
    }),
  },
  { ownPrefixes: ["portolan."] },
);

export type PoolOptions = ValuesOf<typeof poolOptions>;

function addressRange(part: string): AddressRange {
  if (part.includes("/")) {
    const subnet = parsePrefix(part);
    return {
      first: { family: subnet.family, value: subnet.first },
      last: { family: subnet.family, value: lastOf(subnet) },
    };
  }
  const [from = "", to = from] = part.split("-", 2);
  const [first, last] = [parseAddress(from.trim()), parseAddress(to.trim())];
  if (first.family !== last.family || first.value > last.value) throw new RangeError(`"${part}" is not a range`);
  return { first, last };
}

function orUndefined<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch {
    return undefined;
  }
}
