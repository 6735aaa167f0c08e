// `ts-ipam ls`, `inspect`, `utilization`, `leaks`: tables for people, --json for programs, asked of the running driver.
import { askAdmin, textTable, type Command, type CommandCall, type CommonSettings } from "@portolan/sdk";
import type { TakenOver } from "./shared/takeover.ts";
import type { Leak, PoolDetails, PoolStatus } from "./status.ts";

interface Leaks {
  readonly leaks: readonly Leak[];
  readonly released: boolean;
}

const JSON_FLAG = { json: "As JSON." };

/** A command that asks the driver one thing and shows the answer. */
function shows<Answer>(
  command: Omit<Command, "run">,
  ask: (call: CommandCall<CommonSettings>) => Promise<Answer>,
  print: (answer: Answer) => string,
): Command {
  return {
    ...command,
    flags: { ...JSON_FLAG, ...command.flags },
    async run(call) {
      const answer = await ask(call);
      call.print(call.flags.has("json") ? JSON.stringify(answer, undefined, 2) : print(answer));
    },
  };
}

const status = async ({ settings: { admin } }: CommandCall<CommonSettings>) =>
  (await askAdmin(admin, "status")) as { readonly pools: readonly PoolStatus[] };

export const commands = {
  ls: shows({ summary: "The pools that networks of this host have." }, status, ({ pools }) =>
    textTable(
      ["POOL", "GATEWAY", "HELD", "SINCE"],
      pools.map(({ id, gateways, held, since }) => [id, gateways.join(" "), String(held), since]),
    ),
  ),
  inspect: shows(
    { summary: "One pool, by its id or subnet, with its addresses.", operands: ["POOL"] },
    async ({ settings, operands: [pool] }) => (await askAdmin(settings.admin, "inspect", { pool })) as PoolDetails,
    ({ id, options, usable, held, free, addresses, omitted }) =>
      [
        `${id}: ${held} held, ${free} of ${usable} free to be chosen`,
        ...Object.entries(options).map(([key, value]) => `${key}=${value}`),
        textTable(
          ["ADDRESS", "KIND", "OWNER", "SINCE"],
          addresses.map(({ address, kind, name, mac, lentTo, since }) => [
            address,
            kind,
            lentTo ?? [name, mac].filter((part) => part !== undefined).join(" "),
            since,
          ]),
        ),
        ...(omitted > 0 ? [`and ${omitted} more`] : []),
      ].join("\n"),
  ),
  utilization: shows({ summary: "How full the pools are." }, status, ({ pools }) =>
    textTable(
      ["POOL", "USABLE", "HELD", "FREED", "FREE", "USE"],
      pools.map(({ id, usable, held, freed, free }) => [
        id,
        ...[usable, held, freed, free].map(String),
        `${Number(usable) === 0 ? 100 : Math.round((100 * (Number(usable) - Number(free))) / Number(usable))}%`,
      ]),
    ),
  ),
  leaks: shows(
    {
      summary: "Pools and addresses that dockerd did not name when it last started.",
      flags: { release: "Free them at once; the second start of dockerd that does not name them does so by itself." },
    },
    async ({ settings, flags }) =>
      (await askAdmin(settings.admin, "leaks", { release: flags.has("release") })) as Leaks,
    ({ leaks, released }) =>
      leaks.length === 0
        ? "None."
        : [
            ...(released ? ["Released:"] : []),
            textTable(
              ["POOL", "ADDRESS", "OWNER", "SINCE"],
              leaks.map(({ pool, address = "(all)", owner, since }) => [pool, address, owner, since]),
            ),
          ].join("\n"),
  ),
  takeover: shows(
    { summary: "Gives this host the blocks of another that is gone for good.", operands: ["HOST"] },
    async ({ settings, operands: [host] }) =>
      (await askAdmin(settings.admin, "takeover", { host })) as { readonly taken: readonly TakenOver[] },
    ({ taken }) =>
      textTable(
        ["GROUP", "SUBNET", "BLOCKS", "RETURNED"],
        taken.map(({ group, subnet, blocks, left, returned }) => [
          group,
          subnet,
          left > 0 ? `(${left} left: run this on a host of the group)` : blocks.join(" "),
          String(returned),
        ]),
      ),
  ),
} satisfies Record<string, Command>;
