#!/usr/bin/env node
// ts-bridge: settings, state, kernel, driver, serve.
import { createRequire } from "node:module";
import { join } from "node:path";
import { isKernelError, openKernel } from "@portolan/kernel";
import { runPlugin, serve, serveAdmin, UsageError } from "@portolan/sdk";
import { openStore, StateError } from "@portolan/state";
import { openBridge } from "./bridge.ts";
import { doctor } from "./doctor.ts";
import { ports } from "./ports-command.ts";
import { purge } from "./purge.ts";
import { schema } from "./records.ts";

const { version } = createRequire(import.meta.url)("../package.json") as { version: string };
const summary = "Docker networks on Linux bridges of one host.";

await runPlugin({ name: "ts-bridge", version, summary, commands: { doctor, ports, purge } }, async (plugin) => {
  const { name, settings, logger, metrics, listen } = plugin;
  try {
    await using kernel = await openKernel();
    const { store, quarantined } = await openStore({ path: join(settings.stateDir, "state.db"), schema });
    await using _store = store;
    if (quarantined !== undefined) logger.error(`the state was damaged and set aside as ${quarantined}`);
    await using bridge = await openBridge({ kernel, store, log: logger, metrics });
    const { driver, locks } = bridge;

    await using server = await serve({ name, network: driver, listen, locks, logger, metrics });
    const status = () => ({ ...bridge.status(), damagedState: quarantined });
    await using _admin = await serveAdmin({ path: settings.admin, server, metrics, status });
    logger.info(`listening on ${server.addresses.join(", ")}`);

    await bridge.start();
    server.ready();
    logger.info("ready");
    await plugin.stopped;
  } catch (error) {
    throw error instanceof StateError || isKernelError(error) ? new UsageError(error.message, { cause: error }) : error;
  }
});
