#!/usr/bin/env node
// ts-overlay: settings, state, cluster, kernel, driver, serve.
import { createRequire } from "node:module";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { isKernelError, openKernel } from "@portolan/kernel";
import { runPlugin, serve, serveAdmin, storeAccess, UsageError } from "@portolan/sdk";
import { openStore, SharedMemory, StateError } from "@portolan/state";
import { EtcdStore } from "@portolan/state/etcd";
import { actionsOn } from "./actions.ts";
import { commands } from "./cli.ts";
import { addOverlayMetrics } from "./metrics.ts";
import { FORWARD_CHAIN } from "./naming.ts";
import { openOverlay } from "./overlay.ts";
import { purge } from "./purge.ts";
import { schema } from "./records.ts";
import { settings } from "./settings.ts";

const { version } = createRequire(import.meta.url)("../package.json") as { version: string };
const summary = "Docker networks across hosts, without swarm.";
const description = { name: "ts-overlay", version, summary, settings, commands: { ...commands, purge } };

// What other hosts have comes as a flood, most of which is garbage a moment later. V8 would let that grow to a multiple of what
// is kept, and the memory would never be given back.
setFlagsFromString("--heap-growing-percent=50");

await runPlugin(description, async (plugin) => {
  const { name, logger, metrics, listen } = plugin;
  const { stateDir, admin, hostName: host, vtep, wireguardPort, dockerSocket } = plugin.settings;
  const { dnsAddress: linkLocal, hostDns: hostStub, scope, fastPath } = plugin.settings;
  try {
    await using kernel = await openKernel({ forwardChain: FORWARD_CHAIN });
    const { store, quarantined } = await openStore({ path: join(stateDir, "state.db"), schema });
    await using _store = store;
    if (quarantined !== undefined) logger.error(`the state was damaged and set aside as ${quarantined}`);
    const access = storeAccess(plugin.settings);
    const alone = access === undefined;
    if (alone && scope === "global" && dockerSocket !== undefined) {
      throw new UsageError(
        "--docker-socket needs --store in a swarm: what a node learns of Docker it tells the others by etcd alone. Leave it out",
      );
    }
    await using shared = alone
      ? new SharedMemory().connect(scope === "global" ? "this node and its swarm" : "this host alone")
      : new EtcdStore({ ...access, root: "/portolan/overlay/" });
    await using overlay = await openOverlay({
      ...{ kernel, store, shared, alone, host, vtep, wireguardPort },
      ...{ linkLocal, hostStub, hasFastPath: fastPath === "on", dockerSocket, scope, log: logger, metrics },
    });
    const { driver, locks } = overlay;

    await using server = await serve({ name, network: driver, listen, locks, logger, metrics });
    const status = async () => ({ ...(await overlay.freshStatus()), damagedState: quarantined });
    const actions = actionsOn(overlay);
    await using _admin = await serveAdmin({ path: admin, server, metrics, status, actions });
    addOverlayMetrics(metrics, () => overlay.status());
    logger.info(`listening on ${server.addresses.join(", ")}`);

    await overlay.start();
    server.ready();
    logger.info("ready");
    await plugin.stopped;
  } catch (error) {
    throw error instanceof StateError || isKernelError(error) ? new UsageError(error.message, { cause: error }) : error;
  }
});
