// The host's table of one network's published ports: each leads to the service's containers on all hosts.
import type { NetworkId } from "@portolan/sdk";
import { declarationsOf, familyOf, removal, rulesOf, type Balanced } from "./ruleset.ts";
import type { Service } from "./service.ts";

const MESH_TABLES = "inet portolan-mesh-";
export const meshTableOf = (network: NetworkId) => `${MESH_TABLES}${network.slice(0, 12)}`;
/** @param table with its family */
export const isMeshTable = (table: string) => table.startsWith(MESH_TABLES);

export interface MeshPort {
  readonly protocol: "tcp" | "udp";
  readonly hostPort: number;
  readonly containerPort: number;
  readonly service: string;
  readonly targets: readonly string[];
}

const PROTOCOLS = ["tcp", "udp"] as const;

/** In a constant order. */
export function meshPorts(services: readonly Service[]): readonly MeshPort[] {
  return services.flatMap(({ name: service, publish, targets }) =>
    publish.flatMap((text) => {
      const port = parsePublished(text);
      return port ? [{ ...port, service, targets }] : [];
    }),
  );
}

/** @param text as in `8080:80/tcp` */
export function parsePublished(text: string): Pick<MeshPort, "protocol" | "hostPort" | "containerPort"> | undefined {
  const [, from = "", to = "", protocol = ""] = /^(\d+):(\d+)\/(tcp|udp)$/.exec(text) ?? [];
  if (protocol !== "tcp" && protocol !== "udp") return undefined;
  return { protocol, hostPort: Number(from), containerPort: Number(to) };
}

/**
 * The whole table anew. A connection to any address of this host is translated, and leaves for the network with this host's
 * address in the network as its source, since any other host could not lead the answer back. Those that others lead to the
 * network, as what containers publish by -p, keep their source. What has nobody to go to is told so.
 * A swarm's service is led the same way, by its virtual address, which each host has itself. That comes before all others
 * translate what goes to an address of the host's, Docker's own published ports among them.
 * @param links the network's bridge, and the link by which answers come back
 * @param sources this host's addresses in the network, one a family at most
 */
export function meshTable(
  table: string,
  { bridge, far }: { readonly bridge: string; readonly far: string },
  sources: readonly string[],
  ports: readonly MeshPort[],
  services: readonly Balanced[],
): string {
  const key = ({ protocol, hostPort }: MeshPort) => `${protocol} . ${hostPort}`;
  const chain = ({ protocol, hostPort }: MeshPort) => `${protocol}-${hostPort}`;
  const chains = ports.map((port) => {
    const rules = rulesOf(port, `${port.containerPort}`).map((rule) => `    meta l4proto ${port.protocol} ${rule}\n`);
    return `  chain ${chain(port)} {\n${rules.join("")}  }`;
  });
  const declared = (elements: readonly string[]) =>
    elements.length === 0 ? "" : `    elements = { ${elements.join(", ")} }\n`;
  const leads = ports.map((port) => `${key(port)} : goto ${chain(port)}`);
  const snat = sources.map((address) => {
    const [family, word] = familyOf(address) === 4 ? ["ipv4", "ip"] : ["ipv6", "ip6"];
    const lead = `    oifname "${bridge}" ct status dnat meta nfproto ${family}`;
    const asked = [
      ...PROTOCOLS.map((protocol) => `meta l4proto ${protocol} ct original proto-dst @${protocol}-ports`),
      ...(services.length === 0 ? [] : [`ct original ${word} daddr @vips${familyOf(address)}`]),
    ];
    return asked.map((what) => `${lead} ${what} snat ${word} to ${address}\n`).join("");
  });
  const numbers = PROTOCOLS.map((protocol) => {
    const own = ports.filter((port) => port.protocol === protocol).map(({ hostPort }) => `${hostPort}`);
    return `  set ${protocol}-ports {\n    typeof th dport\n${declared(own)}  }\n`;
  });
  return `${removal(table)}
table ${table} {
${chains.join("\n")}
  map leads {
    typeof meta l4proto . th dport : verdict
${declared(leads)}  }
  set ports {
    typeof meta l4proto . th dport
${declared(ports.map(key))}  }
${numbers.join("")}${services.length === 0 ? "" : servicesPart([bridge, far], services)}  chain prerouting {
    type nat hook prerouting priority -100; policy accept;
    ip daddr 127.0.0.0/8 return comment "loopback is for this host alone"
    jump published
  }
  chain output {
    type nat hook output priority -100; policy accept;
    jump published
  }
  chain published {
    ip6 daddr { ::1, fe80::/10 } return comment "no reply would find back"
    fib daddr type local meta l4proto . th dport vmap @leads
  }
  chain refuse {
    type filter hook input priority 0; policy accept;
    meta l4proto tcp meta l4proto . th dport @ports reject with tcp reset
    meta l4proto . th dport @ports reject
  }
  chain postrouting {
    type nat hook postrouting priority 99; policy accept;
${snat.join("")}  }
}
`;
}

function servicesPart(links: readonly string[], services: readonly Balanced[]): string {
  const leads = links.map(
    (link) => `    iifname "${link}" ip daddr vmap @services4\n    iifname "${link}" ip6 daddr vmap @services6\n`,
  );
  return `${declarationsOf(services, rulesOfService)}
  chain services {
    type nat hook prerouting priority -101; policy accept;
${leads.join("")}  }
  chain refuse-services {
    type filter hook input priority -1; policy accept;
    ip daddr @vips4 meta l4proto tcp reject with tcp reset
    ip6 daddr @vips6 meta l4proto tcp reject with tcp reset
    ip daddr @vips4 reject
    ip6 daddr @vips6 reject
  }
`;
}

/** One without containers is led to itself, which ends the search: nobody else's port of that number may answer for it. */
function rulesOfService(service: Balanced): readonly string[] {
  return rulesOf(service.targets.length > 0 ? service : { targets: service.vips });
}
