// What the commands may ask of the running driver, beside its status.
import { PluginError, type AdminAction, type KeyedLocks, poolsLock } from "@portolan/sdk";
import { releaseLeaks } from "./apply.ts";
import type { Books } from "./driver.ts";
import type { Pool } from "./pool.ts";
import type { Registry } from "./registry.ts";
import { advise } from "./shared/advise.ts";
import { takeOver, type TakenOver } from "./shared/takeover.ts";
import { inspect, leaks } from "./status.ts";

export function actionsOn(books: () => Books, locks: KeyedLocks, now: () => number): Record<string, AdminAction> {
  return {
    inspect: (body) => inspect(poolNamed(books().registry, field(body, "pool"))),
    leaks: async (body) => {
      const { registry, journal } = books();
      const release = field(body, "release") === "true";
      const found = leaks(registry);
      // No call of dockerd is under way meanwhile.
      if (release)
        await locks.run(poolsLock(), "ts-ipam leaks --release", () => releaseLeaks(registry, journal, now()));
      return { leaks: found, released: release };
    },
    takeover: (body) => locks.run(poolsLock(), "ts-ipam takeover", () => takeOverFor(books(), field(body, "host"))),
  };
}

async function takeOverFor({ shared }: Books, host: string): Promise<{ taken: TakenOver[] }> {
  if (!shared) throw new PluginError("this host shares no pools", { hint: "Start ts-ipam with --store." });
  return { taken: await takeOver(shared, host).catch(advise) };
}

function field(body: unknown, name: string): string {
  const value = (body as Record<string, unknown> | null)?.[name];
  return typeof value === "string" || typeof value === "boolean" ? String(value) : "";
}

/** By id, or by subnet where that is enough to tell it. */
function poolNamed(registry: Registry, text: string): Pool {
  const pools = [...registry.pools()];
  const found = pools.filter(({ id }) => id === text);
  const bySubnet = pools.filter(({ record }) => record.subnet === text || record.range === text);
  const [pool, ...others] = found.length > 0 ? found : bySubnet;
  if (pool && others.length === 0) return pool;
  throw new PluginError(
    pool ? `several pools are on ${text}: ${bySubnet.map(({ id }) => id).join(", ")}` : `there is no pool ${text}`,
    { hint: pool ? "Give one of their ids." : "ts-ipam ls shows all pools." },
  );
}
