// The lab itself: a suite that passes is worth what the lab would have noticed.
import { expectNoReach, expectReach, runContainer } from "../lab/containers.ts";
import { chosenEngines } from "../lab/engines.ts";
import type { Host } from "../lab/host.ts";
import { expectNoLeak } from "../lab/leaks.ts";
import { snapshot } from "../lab/snapshot.ts";
import { onEveryEngine } from "../lab/suite.ts";
import { Traffic } from "../lab/traffic.ts";
import { setTimeout as sleep } from "node:timers/promises";

/** What is left behind, how it is taken back, and a sentence that has to be in the complaint. */
const leaks: readonly (readonly [made: string, undone: string, complaint: string])[] = [
  ["ip link add stray type bridge", "ip link del stray", "left behind: link stray (bridge, mtu 1500)"],
  ["ip addr add 10.9.8.7/32 dev lo", "ip addr del 10.9.8.7/32 dev lo", "left behind: address 10.9.8.7/32 on lo"],
  ["ip route add 10.9.0.0/16 via 198.51.100.1", "ip route del 10.9.0.0/16", "left behind: route dst 10.9.0.0/16"],
  ["ip rule add from 10.9.0.0/16 lookup 77", "ip rule del from 10.9.0.0/16 lookup 77", "left behind: IPv4 rule"],
  [
    "ip neigh add 198.51.100.99 lladdr 02:00:00:00:00:99 dev eth0 nud permanent",
    "ip neigh del 198.51.100.99 dev eth0",
    "left behind: permanent neighbour dst 198.51.100.99",
  ],
  [
    "nft 'add table inet stray; add set inet stray ports { type inet_service; elements = { 80, 443 }; }'",
    "nft delete table inet stray",
    "left behind: nftables table inet stray, set ports: element 443",
  ],
  [
    "iptables -A DOCKER-USER -s 10.9.8.7 -j ACCEPT",
    "iptables -D DOCKER-USER -s 10.9.8.7 -j ACCEPT",
    "left behind: iptables filter: -A DOCKER-USER -s 10.9.8.7/32 -j ACCEPT",
  ],
  ["ip6tables -N STRAY", "ip6tables -X STRAY", "left behind: ip6tables filter: chain STRAY"],
  [
    "touch /run/docker/plugins/stray.sock",
    "rm /run/docker/plugins/stray.sock",
    "left behind: file /run/docker/plugins/stray.sock",
  ],
  ["mkdir /mnt/x && mount -t tmpfs stray /mnt/x", "umount /mnt/x; rmdir /mnt/x", "left behind: mount /mnt/x"],
];

onEveryEngine("the lab", ({ row, engine }) => {
  row("brings up the Docker that it says, with a FORWARD policy of DROP as on a real host", async (host) => {
    expect(await host.docker("version", "--format", "{{.Server.Version}}")).toContain(engine.version);
    expect(await host.must(["iptables", "-S", "FORWARD"])).toContain("-P FORWARD DROP");
  });

  // What the lab notices does not depend on the Docker: one engine is enough.
  if (engine !== chosenEngines().at(-1)) return;

  row("notices what is left behind", async (host) => {
    const before = await snapshot(host);
    for (const [made, undone, complaint] of leaks) {
      await host.must(["sh", "-c", made]);
      await expect(expectNoLeak(host, before, 0)).rejects.toThrow(complaint);
      await host.must(["sh", "-c", undone]);
      await expectNoLeak(host, before, 0);
    }
  });

  row("notices what is missing", async (host) => {
    const before = await snapshot(host);
    await host.must(["ip", "addr", "del", "127.0.0.1/8", "dev", "lo"]);
    await expect(expectNoLeak(host, before, 0)).rejects.toThrow("no longer there: address 127.0.0.1/8 on lo");
    await host.must(["ip", "addr", "add", "127.0.0.1/8", "scope", "host", "dev", "lo"]);
  });

  row("notices traffic that was interrupted for a second", async (host) => {
    await runContainer(host, "lubeck");
    const traffic = await Traffic.start(host, "lubeck", host.lab.underlay.server.ipv4);
    await sleep(500);
    await forwarding(host, false);
    await sleep(1200);
    await forwarding(host, true);
    await sleep(500);
    await expect(traffic.expectUninterrupted()).rejects.toThrow(
      /pings these were lost: [\d, ]+; the TCP stream was silent/,
    );
  });

  row("tells whether a container reaches another", async (host) => {
    await runContainer(host, "lubeck");
    await expectReach(host, "lubeck", host.lab.underlay.server.ipv4);
    await expect(expectNoReach(host, "lubeck", host.lab.underlay.server.ipv4)).rejects.toThrow("with ping");
    await forwarding(host, false);
    await expectNoReach(host, "lubeck", host.lab.underlay.server.ipv4);
    await expect(expectReach(host, "lubeck", host.lab.underlay.server.ipv4)).rejects.toThrow("ping");
    await forwarding(host, true);
  });
});

async function forwarding(host: Host, on: boolean): Promise<void> {
  await host.must(["sysctl", "-q", "-w", `net.ipv4.ip_forward=${on ? 1 : 0}`]);
}
