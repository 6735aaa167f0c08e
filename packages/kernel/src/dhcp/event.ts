// Reads what the script in script.ts writes for each of udhcpc's events.
import type { DhcpLease } from "./dhcp.ts";

export interface DhcpEvent {
  /** `bound`, `renew`, `deconfig`, `nak`, `leasefail` are udhcpc's; `missing` and `gone` are the script's, for a link that isn't there and a client that ended. */
  readonly name: string;
  readonly lease?: DhcpLease;
}

const MARK = "dhcp-event";

/** @param line `dhcp-event NAME|ADDRESS|PREFIX LENGTH|ROUTERS|SERVER|SECONDS|ROUTES`; undefined for any other line */
export function readEvent(line: string): DhcpEvent | undefined {
  if (!line.startsWith(`${MARK} `)) return undefined;
  const [name = "", ip = "", prefix = "", routers = "", server = "", seconds = "", static_ = ""] = line
    .slice(MARK.length + 1)
    .split("|");
  if (ip === "") return { name };
  const routes = pairs(static_);
  // Where there are classless routes, the router option does not count (RFC 3442).
  const gateway =
    routes.length > 0
      ? routes.find(({ destination }) => destination === DEFAULT)?.via
      : routers.split(" ").find((router) => router !== "");
  return {
    name,
    lease: {
      address: `${ip}/${prefix === "" ? "32" : prefix}`,
      ...(gateway !== undefined && { gateway }),
      routes: routes.filter(({ destination }) => destination !== DEFAULT),
      ...(server !== "" && { server }),
      ...(/^\d+$/.test(seconds) && seconds !== FOR_EVER && { seconds: Number(seconds) }),
    },
  };
}

const DEFAULT = "0.0.0.0/0";
/** RFC 2131, section 3.3: all bits set. */
const FOR_EVER = "4294967295";

function pairs(text: string): DhcpLease["routes"] {
  const words = text.split(" ").filter((word) => word !== "");
  return words.flatMap((destination, index) => {
    const via = words[index + 1];
    return index % 2 === 0 && via !== undefined ? [{ destination, via }] : [];
  });
}
