// `ts-macvlan doctor` and `ts-ipvlan doctor`: what of this host and of its LAN keeps the driver's networks from working.
import { cardsBelow, hasUdhcpc, machine, openKernel, type Kernel, type Link } from "@portolan/kernel";
import { askAdmin, doctor, PluginError, type Check, type Command, type Finding } from "@portolan/sdk";
import { strangers, type Surroundings } from "./doctor-lan.ts";
import { subjectOf } from "./naming.ts";
import type { Flavour } from "./options.ts";
import type { LanStatus } from "./status.ts";

export const doctorCommand = (flavour: Flavour): Command =>
  doctor(async ({ admin }, look) => {
    await using kernel = await openKernel();
    const status = await askAdmin(admin, "status").catch((error: unknown) => PluginError.from(error));
    const surroundings = { cardsBelow, hasUdhcpc, machine };
    await look(checks(flavour, kernel, status as LanStatus | PluginError, surroundings));
  });

/** @param status what the driver tells, or why it does not */
export function checks(
  flavour: Flavour,
  kernel: Kernel,
  status: LanStatus | PluginError,
  surroundings: Surroundings,
): readonly Check[] {
  const networks = Error.isError(status) ? [] : status.networks;
  return [
    { name: "driver", look: () => Promise.resolve(driver(flavour, status)) },
    { name: "kernel modules", look: () => modules(flavour, kernel, networks) },
    { name: "parents", look: () => parents(kernel, networks) },
    { name: "MAC addresses", look: () => strangers(flavour, networks, surroundings) },
    { name: "MTU", look: () => mtu(flavour, kernel, networks) },
    { name: "DHCP", look: () => dhcp(flavour, networks, surroundings) },
    { name: "host access", look: () => hostAccess(flavour, kernel, networks) },
    { name: "leftovers", look: () => leftovers(flavour, kernel, status) },
  ];
}

type Networks = LanStatus["networks"];

const problem = (found: string, mend: string): Finding => ({ level: "problem", found, mend });
const note = (found: string, mend: string): Finding => ({ level: "note", found, mend });
const shortened = (id: string) => id.slice(0, 12);
const parentsOf = (networks: Networks) => [...new Set(networks.map(({ parent, parentNow }) => parentNow ?? parent))];

function driver({ name }: Flavour, status: LanStatus | PluginError): readonly Finding[] {
  if (Error.isError(status))
    return [
      problem(`it does not answer, so nobody mends or serves requests: ${status.message}`, `systemctl start ${name}`),
    ];
  const log = `journalctl -u ${name}`;
  const endpoints = status.networks.flatMap((network) => network.endpoints);
  return [
    ...status.networks.flatMap(({ id, trouble, parentState }) =>
      // A missing parent is told of below.
      trouble === undefined || parentState === "missing" ? [] : [problem(`network ${shortened(id)}: ${trouble}`, log)],
    ),
    // What is to be removed is told of below.
    ...endpoints.flatMap(({ id, progress, trouble, lease }) => [
      ...(trouble === undefined || progress === "removing"
        ? []
        : [problem(`endpoint ${shortened(id)}: ${trouble}`, log)]),
      ...(lease?.state === "lost"
        ? [problem(`endpoint ${shortened(id)} has lost its DHCP lease, and its container has no address`, log)]
        : []),
    ]),
  ];
}

/** Asking for a kind loads its module, as making such a link would. */
async function modules({ kind }: Flavour, { stackedLinks }: Kernel, networks: Networks): Promise<readonly Finding[]> {
  // Debian has all of them in its kernel's package; Ubuntu keeps some apart.
  const load = (module: string) => `modprobe ${module} || apt-get install "linux-modules-extra-$(uname -r)"`;
  const hasVlans = networks.some(({ parent }) => parent.includes("."));
  const hasNeither = !(await stackedLinks.has("dummy")) && !(await stackedLinks.has("ifb"));
  return [
    ...((await stackedLinks.has(kind)) ? [] : [problem(`this kernel has no ${kind}: no network works`, load(kind))]),
    ...((await stackedLinks.has("vlan"))
      ? []
      : [(hasVlans ? problem : note)("this kernel makes no VLANs, such as parent=eth0.100", load("8021q"))]),
    ...(hasNeither ? [note("this kernel has no dummies, for networks without a parent", load("dummy"))] : []),
    ...((await stackedLinks.has("ifb")) ? [] : [note("this kernel has no ifb, for portolan.rate.in", load("ifb"))]),
  ];
}

async function parents({ links }: Kernel, networks: Networks): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  for (const name of parentsOf(networks)) {
    const link = await links.get(name);
    if (!link) {
      findings.push(
        problem(`there is no link ${name}; its containers have theirs back when it is there`, "ip link show"),
      );
    } else if (!link.up) {
      findings.push(problem(`${name} is down, and its containers with it`, `ip link set ${name} up`));
    } else if (link.noCarrier === true) {
      findings.push(
        problem(`${name} has no carrier: a cable, a switch or a peer is missing`, `ip -d link show ${name}`),
      );
    } else if (link.master !== undefined) {
      const master = (await links.list()).find(({ index }) => index === link.master)?.name ?? "?";
      const found = `${name} is a port of ${master}, which takes all that ${name} receives: give networks parent=${master}`;
      findings.push(problem(found, `ip link set ${name} nomaster`));
    }
  }
  return findings;
}

/** Two tags of 802.1ad and 802.1Q, and the second one is not part of what a card with an MTU of 1500 carries for sure. */
const SECOND_TAG = 4;

async function mtu({ name: driver }: Flavour, { links }: Kernel, networks: Networks): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  for (const { id, parent, parentNow, mtu: wanted } of networks) {
    const name = parentNow ?? parent;
    const link = await links.get(name);
    if (link && wanted !== undefined && wanted > link.mtu) {
      const found = `network ${shortened(id)} wants packets of ${wanted} bytes, and ${name} takes ${link.mtu}: no container starts`;
      findings.push(problem(found, `ip link set ${name} mtu ${wanted}`));
    }
    const outer = await outerVlan(links, link);
    const size = wanted ?? link?.mtu ?? 0;
    if (outer && size > outer.mtu - SECOND_TAG) {
      const found = `${name} has two tags: full packets of network ${shortened(id)} get lost where cards and switches take no ${outer.mtu + SECOND_TAG} bytes`;
      const less = outer.mtu - SECOND_TAG;
      findings.push(note(found, `docker network create -d ${driver} -o com.docker.network.driver.mtu=${less} …`));
    }
  }
  return findings;
}

/** Of a VLAN within a VLAN the outer one. */
async function outerVlan(links: Kernel["links"], inner: Link | undefined): Promise<Link | undefined> {
  if (inner?.kind !== "vlan") return undefined;
  return (await links.list()).find(({ kind, index }) => kind === "vlan" && index === inner.peer);
}

async function dhcp(flavour: Flavour, networks: Networks, surroundings: Surroundings): Promise<readonly Finding[]> {
  const isUsed = networks.some(({ options }) => flavour.parse(options).values.dhcp === true);
  if (!isUsed || (await surroundings.hasUdhcpc())) return [];
  return [problem("there is no udhcpc: networks with portolan.dhcp start no container", "apt-get install udhcpc")];
}

/** What containers send to the host's other addresses comes in by the parent with ipvlan, and goes out by the host's own link. */
async function hostAccess({ kind }: Flavour, { sysctls }: Kernel, networks: Networks): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  for (const name of parentsOf(networks.filter(({ hostLink }) => hostLink !== undefined))) {
    if (kind !== "ipvlan") continue;
    const own = `net/ipv4/conf/${name}/rp_filter`;
    const values = [await sysctls.get("net/ipv4/conf/all/rp_filter"), await sysctls.get(own)];
    // Linux takes the larger of the two, and 1 is strict.
    if (Math.max(...values.map(Number)) !== 1) continue;
    const found = `rp_filter of ${name} is strict: containers reach the host at portolan.host-access's addresses only`;
    findings.push(note(found, `sysctl -w net.ipv4.conf.${name}.rp_filter=2`));
  }
  return findings;
}

async function leftovers(
  flavour: Flavour,
  { links }: Kernel,
  status: LanStatus | PluginError,
): Promise<readonly Finding[]> {
  const { name: driver } = flavour;
  if (Error.isError(status)) {
    const marked = (await links.list()).filter(({ alias }) => subjectOf(flavour, alias) !== undefined);
    // They may be in use, as far as anybody knows without the driver.
    return marked.map(({ name }) =>
      note(`${name} is there while the driver is away`, `${driver} purge # if no longer wanted`),
    );
  }
  return [
    ...status.strays.map((name) => problem(`no record tells of ${name}, which has our mark`, `ip link delete ${name}`)),
    ...status.pendingDeletes.map(({ id, trouble = "" }) =>
      note(`${shortened(id)} could not be removed yet, and will be tried again: ${trouble}`, `journalctl -u ${driver}`),
    ),
  ];
}
