#!/usr/bin/env node
// ts-ipam: settings, host, driver, serve; then the records, which calls wait for.
import { createRequire } from "node:module";
import { join } from "node:path";
import { isKernelError, openKernel } from "@portolan/kernel";
import { KeyedLocks, runPlugin, serve, serveAdmin, UsageError } from "@portolan/sdk";
import { openStore, StateError } from "@portolan/state";
import { actionsOn } from "./actions.ts";
import { ulaOf } from "./addresses/default-pools.ts";
import { commands } from "./cli.ts";
import { PortolanIpamDriver } from "./driver.ts";
import { LinuxHost } from "./host.ts";
import { hostId } from "./identity.ts";
import { Journal } from "./journal.ts";
import { purge } from "./purge.ts";
import { schema } from "./records.ts";
import { Registry } from "./registry.ts";
import { settings } from "./settings.ts";
import { openSharedStore } from "./shared/open.ts";
import { SharedPools } from "./shared/shared-pools.ts";
import { addPoolMetrics, status } from "./status.ts";

const { version } = createRequire(import.meta.url)("../package.json") as { version: string };
const summary = "Docker's address management: it scales, remembers and explains itself.";

await runPlugin({ name: "ts-ipam", version, summary, settings, commands: { ...commands, purge } }, async (plugin) => {
  const { name, logger, metrics, listen } = plugin;
  try {
    await using kernel = await openKernel();
    const path = join(plugin.settings.stateDir, "state.db");
    const { store, quarantined } = await openStore({ path, schema });
    await using _store = store;
    if (quarantined !== undefined)
      logger.error(`the state was damaged and set aside as ${quarantined}: restart dockerd`);

    const { scope } = plugin.settings;
    const driver = new PortolanIpamDriver({ host: new LinuxHost(kernel.routes), log: logger, scope });
    const locks = new KeyedLocks((ms) => metrics.lockWaited(ms));
    await using server = await serve({ name, ipam: driver, listen, locks, logger, metrics });
    const told = () => ({ ...status(driver), damagedState: quarantined });
    const actions = actionsOn(() => driver.books, locks, Date.now);
    await using _admin = await serveAdmin({ path: plugin.settings.admin, server, metrics, status: told, actions });
    logger.info(`listening on ${server.addresses.join(", ")}`);

    const id = await hostId(store);
    const journal = new Journal(store);
    const registry = await Registry.load(store, journal);
    const parts = { host: plugin.settings.hostName, hostId: id, registry, journal, log: logger, now: Date.now };
    await using etcd = await openSharedStore(plugin.settings);
    await using shared = etcd && (await SharedPools.open({ ...parts, store: etcd }, store));
    const defaultPools = [...plugin.settings.defaultPools, ulaOf(id)];
    driver.open({ registry, journal, hostId: id, defaultPools, ...(shared ? { shared } : {}) });
    addPoolMetrics(metrics, () => registry.pools());
    server.ready();
    logger.info(`ready with ${registry.size} pools`);
    await plugin.stopped;
  } catch (error) {
    throw error instanceof StateError || isKernelError(error) ? new UsageError(error.message, { cause: error }) : error;
  }
});
