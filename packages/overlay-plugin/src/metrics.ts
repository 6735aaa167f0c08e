// What ts-overlay measures beside what every plugin does.
import type { Metrics } from "@portolan/sdk";
import { Gauge } from "prom-client";
import type { OverlayStatus } from "./status.ts";

/** @param status asked whenever somebody reads the metrics */
export function addOverlayMetrics({ registry }: Metrics, status: () => OverlayStatus): void {
  const registers = [registry];
  new Gauge({
    name: "portolan_overlay_peers",
    help: "Other hosts of the cluster",
    labelNames: ["state"],
    registers,
    collect() {
      const others = status().peers.filter(({ host }) => host !== status().host);
      const alive = others.filter((peer) => peer.alive).length;
      this.set({ state: "alive" }, alive);
      this.set({ state: "away" }, others.length - alive);
    },
  });
  new Gauge({
    name: "portolan_overlay_endpoints",
    help: "Containers of the networks that this host carries",
    labelNames: ["where"],
    registers,
    collect() {
      const { networks } = status();
      this.set(
        { where: "here" },
        networks.reduce((sum, { endpoints }) => sum + endpoints.here, 0),
      );
      this.set(
        { where: "elsewhere" },
        networks.reduce((sum, { endpoints }) => sum + endpoints.elsewhere, 0),
      );
    },
  });
  new Gauge({
    name: "portolan_overlay_stale_entries",
    help: "Entries of forwarding tables that led to where nothing was and had to be removed, since the start",
    registers,
    collect() {
      this.set(status().staleEntries);
    },
  });
  new Gauge({
    name: "portolan_overlay_troubled_networks",
    help: "Networks of this host that are not as they should be",
    registers,
    collect() {
      this.set(status().networks.filter(({ trouble }) => trouble !== undefined).length);
    },
  });
}
