// Debian's kernel where it differs from the one that most suites run on: br_netfilter is a module, which somebody loads or
// not, and there are flowtables, by which a host's owner takes forwarded packets past the rules.
import { setTimeout as sleep } from "node:timers/promises";
import { expectNoReach, expectReach, runContainer } from "../lab/containers.ts";
import { patience } from "../lab/patience.ts";
import { driver, onEveryEngine } from "../lab/suite.ts";
import { Traffic } from "../lab/traffic.ts";
import { eventually } from "../lab/wait.ts";

onEveryEngine(
  "on Debian's kernel",
  ({ row }) => {
    for (const calls of ["0", "1"]) {
      row(`holds networks apart and each together when bridge-nf-call-iptables is ${calls}`, async (host) => {
        const key = "net.bridge.bridge-nf-call-iptables";
        const before = await host.must(["sysctl", "-n", key]);
        await host.must(["sysctl", "-qw", `${key}=${calls}`]);
        await host.docker("network", "create", "-d", driver, "--subnet", "10.95.1.0/24", "hansa");
        await host.docker("network", "create", "-d", driver, "--subnet", "10.95.2.0/24", "levant");
        await runContainer(host, "lubeck", "--network", "hansa", "--ip", "10.95.1.10");
        await runContainer(host, "bergen", "--network", "hansa", "--ip", "10.95.1.11");
        await runContainer(host, "venice", "--network", "levant", "--ip", "10.95.2.10");
        await expectReach(host, "lubeck", "10.95.1.11", host.lab.underlay.server.ipv4);
        await expectNoReach(host, "lubeck", "10.95.2.10");
        await host.must(["sysctl", "-qw", `${key}=${before}`]);
      });
    }

    row("lets the host's owner take a container's traffic past the rules by a flowtable", async (host) => {
      const bridge = "br-fast";
      const named = ["-o", `com.docker.network.bridge.name=${bridge}`];
      await host.docker("network", "create", "-d", driver, ...named, "hansa");
      const table = `table inet fast {
        flowtable ways { hook ingress priority filter; devices = { eth0, ${bridge} }; }
        chain forward { type filter hook forward priority filter - 10; ip protocol tcp flow add @ways; }
      }`;
      await host.must(["nft", "-f", "-"], { input: table });
      await runContainer(host, "lubeck", "--network", "hansa");
      const traffic = await Traffic.start(host, "lubeck", host.lab.underlay.server.ipv4);
      await eventually("the stream is offloaded", async () =>
        /dport=7 .*\[OFFLOAD\]/.test(await host.must(["conntrack", "-L", "-p", "tcp"])),
      );
      await sleep(500 * patience); // the stream goes on, now by the flowtable
      await traffic.expectUninterrupted();
      await host.must(["nft", "delete", "table", "inet", "fast"]);
    });
  },
  { needs: { modules: ["br_netfilter", "nf_flow_table_inet", "nft_flow_offload"] } },
);
