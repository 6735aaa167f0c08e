// `ts-overlay networks`, `peers`, `endpoints`, `forget`: tables for people, --json for programs, asked of the running driver.
import { portsTable } from "@portolan/ports";
import { askAdmin, textTable, type Command, type CommandCall, type CommonSettings } from "@portolan/sdk";
import type { EndpointStatus, OverlayStatus } from "./status.ts";

/** A command that asks the driver one thing and shows the answer. */
function shows<Answer>(
  command: Omit<Command, "run" | "flags">,
  ask: (call: CommandCall<CommonSettings>) => Promise<Answer>,
  print: (answer: Answer) => string,
): Command {
  return {
    ...command,
    flags: { json: "As JSON." },
    async run(call) {
      const answer = await ask(call);
      call.print(call.flags.has("json") ? JSON.stringify(answer, undefined, 2) : print(answer));
    },
  };
}

const status = async ({ settings: { admin } }: CommandCall<CommonSettings>) =>
  (await askAdmin(admin, "status")) as OverlayStatus;

/** How long ago the newest of these keys showed that its host has it; of this host's own, when it was made. */
function proved(keys: OverlayStatus["peers"][number]["keys"]): string {
  const times = keys.flatMap(({ handshake, since }) => since ?? handshake ?? []);
  const [time] = times;
  if (time === undefined) return keys.length > 0 ? "not yet" : "";
  return `${Math.max(0, Math.round((Date.now() - Date.parse(time)) / 1000))} s ago`;
}

export const commands = {
  networks: shows({ summary: "The networks that this host carries." }, status, ({ networks, trouble, names }) =>
    [
      textTable(
        ["NETWORK", "ID", "VNI", "PORT", "MTU", "SUBNETS", "HOSTS", "HERE", "ELSEWHERE", "TROUBLE"],
        networks.map(({ name, id, vni, port, mtu, subnets, hosts, endpoints, trouble: why = "" }) => [
          ...[name === id ? "-" : name, id.slice(0, 12), String(vni), String(port), String(mtu), subnets.join(" ")],
          ...[hosts.length, endpoints.here, endpoints.elsewhere].map(String),
          why,
        ]),
      ),
      ...(trouble === undefined ? [] : [`The cluster: ${trouble}`]),
      ...names.troubles.map((why) => `Names: ${why}`),
      ...(names.docker === undefined ? [] : [`Names: does not hear from Docker: ${names.docker}`]),
    ].join("\n"),
  ),
  peers: shows({ summary: "The hosts of the cluster, and which of them are away." }, status, ({ peers, host }) =>
    textTable(
      ["HOST", "ADDRESS", "STATE", "KEY", "PROVED", "NETWORKS"],
      peers.map(({ host: name, vtep = "", alive, away = 0, keys, networks }) => [
        ...[name, vtep, name === host ? "this host" : alive ? "alive" : `away for ${away} s`],
        ...[keys.map(({ key }) => key.slice(0, 8)).join(" "), proved(keys), networks.join(" ")],
      ]),
    ),
  ),
  endpoints: shows(
    { summary: "The containers of a network, on all hosts.", operands: ["NETWORK"] },
    async ({ settings: { admin }, operands: [network] }) =>
      (await askAdmin(admin, "endpoints", { network })) as readonly EndpointStatus[],
    (endpoints) =>
      textTable(
        ["ADDRESS", "HOST", "ENDPOINT", "MAC", "NAMES"],
        endpoints.map(({ address, host, endpoint, mac, names }) => [address, host, endpoint, mac, names.join(" ")]),
      ),
  ),
  rekey: shows(
    { summary: "Gives this host another key for its encrypted networks, which it does by itself every day." },
    ({ settings: { admin } }) => askAdmin(admin, "rekey", {}),
    () => "A new key is made, and the old one goes when all hosts use the new one: see ts-overlay peers.",
  ),
  services: shows({ summary: "The services of the networks that this host carries." }, status, ({ networks }) =>
    textTable(
      ["NETWORK", "SERVICE", "ADDRESSES", "PUBLISHED", "ENDPOINTS"],
      networks.flatMap(({ name: network, services }) =>
        services.map(({ name, addresses, publish, endpoints }) => [
          ...[network, name, addresses.join(" "), publish.join(" "), endpoints.join(" ")],
        ]),
      ),
    ),
  ),
  ports: shows(
    { summary: "What containers of this host publish by -p, where the network's own gateway is their way out." },
    status,
    ({ networks }) =>
      portsTable(networks.flatMap(({ id: network, ports }) => ports.map((published) => ({ network, ...published })))),
  ),
  forget: shows(
    { summary: "Takes a host that is gone for good out of the cluster.", operands: ["HOST"] },
    async ({ settings: { admin }, operands: [host] }) =>
      (await askAdmin(admin, "forget", { host })) as { readonly networks: readonly string[] },
    ({ networks }) => (networks.length === 0 ? "It was in no network." : `It was in ${networks.join(", ")}.`),
  ),
} satisfies Record<string, Command>;
