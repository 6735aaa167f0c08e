// What both executables do: settings, state, kernel, driver, serve.
import { createRequire } from "node:module";
import { join } from "node:path";
import { isKernelError, openDhcp, openKernel } from "@portolan/kernel";
import { runPlugin, serve, serveAdmin, UsageError } from "@portolan/sdk";
import { openStore, StateError } from "@portolan/state";
import { doctorCommand } from "./doctor.ts";
import { openLan } from "./lan.ts";
import type { Flavour } from "./options.ts";
import { purgeCommand } from "./purge.ts";
import { schema } from "./records.ts";

const { version } = createRequire(import.meta.url)("../package.json") as { version: string };

export async function main(flavour: Flavour): Promise<void> {
  const { name, summary } = flavour;
  const commands = { doctor: doctorCommand(flavour), purge: purgeCommand(flavour) };
  await runPlugin({ name, version, summary, commands }, async (plugin) => {
    const { settings, logger, metrics, listen } = plugin;
    try {
      await using kernel = await openKernel();
      const { store, quarantined } = await openStore({ path: join(settings.stateDir, "state.db"), schema });
      await using _store = store;
      const dhcp = await openDhcp(settings.stateDir);
      if (quarantined !== undefined) logger.error(`the state was damaged and set aside as ${quarantined}`);
      await using lan = await openLan({ flavour, kernel, dhcp, store, log: logger, metrics });
      const { driver, locks } = lan;

      await using server = await serve({ name, network: driver, listen, locks, logger, metrics });
      const status = () => ({ ...lan.status(), damagedState: quarantined });
      await using _admin = await serveAdmin({ path: settings.admin, server, metrics, status });
      logger.info(`listening on ${server.addresses.join(", ")}`);

      await lan.start();
      server.ready();
      logger.info("ready");
      await plugin.stopped;
    } catch (error) {
      throw error instanceof StateError || isKernelError(error)
        ? new UsageError(error.message, { cause: error })
        : error;
    }
  });
}
