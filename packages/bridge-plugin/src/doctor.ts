// `ts-bridge doctor`: what of this host keeps the driver's networks from working.
import { openKernel, type Kernel, type Link } from "@portolan/kernel";
import { askAdmin, doctor as doctorCommand, PluginError, type Check, type Command, type Finding } from "@portolan/sdk";
import { ANTISPOOF_TABLE } from "./antispoof.ts";
import { TABLE } from "./firewall.ts";
import { BRIDGE_PREFIX, idInAlias } from "./naming.ts";
import type { BridgeStatus } from "./status.ts";

export const doctor: Command = doctorCommand(async ({ admin }, look) => {
  await using kernel = await openKernel();
  const status = await askAdmin(admin, "status").catch((error: unknown) => PluginError.from(error));
  await look(checks(kernel, status as BridgeStatus | PluginError));
});

/** What mends nearly everything: at its start the driver puts right what is its own. */
const RESTART = "systemctl restart ts-bridge";

/** @param status what the driver tells, or why it does not */
export function checks(kernel: Kernel, status: BridgeStatus | PluginError): readonly Check[] {
  const known = Error.isError(status) ? undefined : status;
  return [
    { name: "driver", look: () => Promise.resolve(driver(status)) },
    { name: "forwarding", look: () => forwarding(kernel, known) },
    { name: "FORWARD", look: () => forwardPolicy(kernel) },
    { name: "other firewalls", look: () => otherFirewalls(kernel) },
    { name: "own rules", look: () => ownRules(kernel, known) },
    { name: "br_netfilter", look: () => bridgeNetfilter(kernel, known) },
    { name: "MTU", look: () => mtu(kernel) },
    { name: "kernel features", look: () => features(kernel, known) },
    { name: "leftovers", look: () => leftovers(kernel, known) },
  ];
}

const problem = (found: string, mend: string): Finding => ({ level: "problem", found, mend });
const note = (found: string, mend: string): Finding => ({ level: "note", found, mend });

function driver(status: BridgeStatus | PluginError): readonly Finding[] {
  if (Error.isError(status))
    return [
      problem(`it does not answer, so nobody mends or serves requests: ${status.message}`, "systemctl start ts-bridge"),
    ];
  const { networks, firewall } = status;
  const endpoints = networks.flatMap((network) => network.endpoints);
  return [
    ...(firewall.trouble === undefined ? [] : [problem(firewall.trouble, "journalctl -u ts-bridge")]),
    ...networks
      .filter(({ trouble }) => trouble !== undefined)
      .map(({ id, trouble }) => problem(`network ${id.slice(0, 12)}: ${trouble ?? ""}`, "journalctl -u ts-bridge")),
    ...endpoints
      .flatMap(({ ports }) => ports)
      .filter(({ trouble }) => trouble !== undefined)
      .map(({ hostPort, protocol }) =>
        problem(
          `another program has port ${hostPort}/${protocol}, which a container publishes`,
          `ss -lnp 'sport = :${hostPort}'`,
        ),
      ),
  ];
}

async function forwarding({ sysctls }: Kernel, status: BridgeStatus | undefined): Promise<readonly Finding[]> {
  const subnets = (status?.networks ?? []).filter(({ internal }) => !internal).flatMap((network) => network.subnets);
  const hasIPv6 = subnets.some(({ subnet }) => subnet.includes(":"));
  const wanted = ["net/ipv4/ip_forward", ...(hasIPv6 ? ["net/ipv6/conf/all/forwarding"] : [])];
  const values = await Promise.all(wanted.map(async (path) => ({ path, value: await sysctls.get(path) })));
  return values
    .filter(({ value }) => value === "0")
    .map(({ path }) => {
      const name = path.replaceAll("/", ".");
      const found = `${name} is 0: no packet leaves a network`;
      // The first network turns it on, as Docker does.
      return subnets.length > 0 ? problem(found, `sysctl -w ${name}=1`) : note(found, `sysctl -w ${name}=1`);
    });
}

interface Chain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  readonly hook?: string;
  readonly policy?: string;
}

interface Rule {
  readonly table: string;
  readonly family: string;
  readonly chain: string;
  readonly expr: readonly Readonly<Record<string, unknown>>[];
}

async function ruleset({ nftables }: Kernel): Promise<{ chains: readonly Chain[]; rules: readonly Rule[] }> {
  const objects = await nftables.list("list ruleset", { terse: true });
  return {
    chains: objects.flatMap(({ chain }) => (chain === undefined ? [] : [chain as Chain])),
    rules: objects.flatMap(({ rule }) => (rule === undefined ? [] : [rule as Rule])),
  };
}

const isIptables = ({ family, table }: Chain) => (family === "ip" || family === "ip6") && table === "filter";
const isOurs = ({ family, table }: Chain) => [TABLE, ANTISPOOF_TABLE].includes(`${family} ${table}`);
const isFirewalld = ({ family, table }: Chain) => family === "inet" && table === "firewalld";
const knowsUs = (rules: readonly Rule[]) => JSON.stringify(rules).includes(`"${BRIDGE_PREFIX}*"`);
const rulesIn = (rules: readonly Rule[], { family, table, name }: Chain) =>
  rules.filter((rule) => rule.family === family && rule.table === table && rule.chain === name);

async function forwardPolicy({ forwardAccept }: Kernel): Promise<readonly Finding[]> {
  return (await forwardAccept.obstacles()).map((program) =>
    problem(
      `${program} -S FORWARD: its policy is DROP, and nothing lets our bridges through; the driver does, when it runs`,
      RESTART,
    ),
  );
}

async function otherFirewalls(kernel: Kernel): Promise<readonly Finding[]> {
  const { chains, rules } = await ruleset(kernel);
  return chains
    .filter((chain) => chain.hook === "forward" && !isIptables(chain) && !isOurs(chain))
    .filter((chain) => {
      const [last] = rulesIn(rules, chain).at(-1)?.expr.slice(-1) ?? [];
      return chain.policy === "drop" || (last !== undefined && ("drop" in last || "reject" in last));
    })
    .filter((chain) => !isFirewalld(chain) || !knowsUs(rules.filter(({ table }) => table === chain.table)))
    .map((chain) => {
      const { family, table, name } = chain;
      if (isFirewalld(chain)) {
        const found =
          "firewalld rejects what comes from our bridges; the driver tells it not to, where it has firewall-cmd";
        // For good, since nobody may be there to say it again.
        return problem(
          found,
          `firewall-cmd --permanent --zone=trusted --add-interface=${BRIDGE_PREFIX}+ && firewall-cmd --reload`,
        );
      }
      const insert = (side: string) =>
        `nft insert rule ${family} ${table} ${name} ${side} '"${BRIDGE_PREFIX}*"' accept`;
      return note(
        `the chain ${family} ${table} ${name} drops what it does not know, and no accept of ours can overrule that`,
        `${insert("iifname")} && ${insert("oifname")}`,
      );
    });
}

async function ownRules(kernel: Kernel, status: BridgeStatus | undefined): Promise<readonly Finding[]> {
  const { chains } = await ruleset(kernel);
  const isThere = chains.some(({ family, table }) => `${family} ${table}` === TABLE);
  const bridges = (await kernel.links.list()).filter(
    ({ name, kind }) => kind === "bridge" && name.startsWith(BRIDGE_PREFIX),
  );
  if (isThere || (status === undefined && bridges.length === 0)) return [];
  return [problem(`the nftables table ${TABLE} is gone: networks are neither translated nor kept apart`, RESTART)];
}

async function bridgeNetfilter({ sysctls }: Kernel, status: BridgeStatus | undefined): Promise<readonly Finding[]> {
  const isOn = (await sysctls.get("net/bridge/bridge-nf-call-iptables")) === "1";
  const secluded = (status?.networks ?? []).filter(
    ({ options }) => options["com.docker.network.bridge.enable_icc"] === "false",
  );
  // Otherwise our table of the bridge family lets these pass.
  if (!isOn || secluded.length === 0 || status?.firewall.withoutAntispoof === undefined) return [];
  const found =
    "it is on, so containers of a network without ICC do not reach a neighbour's published port through the host";
  return [note(found, "sysctl -w net.bridge.bridge-nf-call-iptables=0")];
}

/** The way out is where the default route of the main table leads. */
async function mtu({ links, routes }: Kernel): Promise<readonly Finding[]> {
  const all = await links.list();
  const way = (await routes.list(4)).find(({ destination, link }) => destination === "0.0.0.0/0" && link !== undefined);
  const out = all.find(({ name }) => name === way?.link);
  if (!out) return [];
  return all
    .filter((link) => isOurBridge(link) && link.mtu > out.mtu)
    .map(({ name, mtu: size }) =>
      note(
        `${name} takes packets of ${size} bytes and ${out.name}, the way out, of ${out.mtu}: large ones may get lost`,
        `docker network create -d ts-bridge -o com.docker.network.driver.mtu=${out.mtu} NAME`,
      ),
    );
}

async function features({ sysctls }: Kernel, status: BridgeStatus | undefined): Promise<readonly Finding[]> {
  const without = status?.firewall.withoutAntispoof;
  const hasIPv6 = (await sysctls.get("net/ipv6/conf/all/disable_ipv6")) !== undefined;
  return [
    ...(without === undefined
      ? []
      : [problem(`containers may send from any address: ${without}`, `modprobe nf_tables_bridge && ${RESTART}`)]),
    ...(hasIPv6 ? [] : [note("this kernel has no IPv6", "cat /proc/cmdline # ipv6.disable=1?")]),
  ];
}

async function leftovers({ links }: Kernel, status: BridgeStatus | undefined): Promise<readonly Finding[]> {
  if (!status) {
    const marked = (await links.list()).filter(isOurBridge);
    // They may be in use, as far as anybody knows without the driver.
    return marked.map(({ name }) =>
      note(`${name} is there while the driver is away`, "ts-bridge purge # if no longer wanted"),
    );
  }
  return [
    ...status.strays.map((name) => problem(`no record tells of ${name}, which has our mark`, `ip link delete ${name}`)),
    ...status.pendingDeletes.map(({ id, trouble = "" }) =>
      note(
        `${id.slice(0, 12)} could not be removed yet, and will be tried again: ${trouble}`,
        "journalctl -u ts-bridge",
      ),
    ),
  ];
}

function isOurBridge({ kind, alias }: Link): boolean {
  return kind === "bridge" && idInAlias(alias) !== undefined;
}
