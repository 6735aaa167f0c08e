// VLAN sub-interfaces and ipvlan, which the kernel must have modules for: Docker's own drivers on a switch of the lab's
// kind, as a control that this tier can carry the suites of drivers on the LAN.
import { must } from "../lab/command.ts";
import { describeWith } from "../lab/needs.ts";
import { docker, loadImage } from "../vm/machine.ts";
import { row } from "../vm/rows.ts";

const neighbour = ["nsenter", "--net=/run/netns/neighbour", "--"];

describeWith(
  { systemd: true, machines: 1, modules: ["8021q", "macvlan", "ipvlan"] },
  "containers on a VLAN of the machine's uplink",
  () => {
    beforeAll(async () => {
      await loadImage();
      // Someone else on the LAN, who speaks with tag 10 only.
      await must(["ip", "netns", "add", "neighbour"]);
      await must(["ip", "link", "add", "uplink", "type", "veth", "peer", "name", "lan", "netns", "neighbour"]);
      await must(["ip", "link", "set", "uplink", "up"]);
      await must([...neighbour, "ip", "link", "set", "lan", "up"]);
      await must([...neighbour, "ip", "link", "add", "link", "lan", "name", "lan.10", "type", "vlan", "id", "10"]);
      await must([...neighbour, "ip", "address", "add", "10.92.0.1/24", "dev", "lan.10"]);
      await must([...neighbour, "ip", "link", "set", "lan.10", "up"]);
    }, 120_000);

    afterAll(async () => {
      await must(["ip", "link", "del", "uplink"]);
      await must(["ip", "netns", "del", "neighbour"]);
    }, 120_000);

    for (const driver of ["macvlan", "ipvlan"]) {
      row(`reach a neighbour with the same tag through ${driver}`, async () => {
        const pool = ["--subnet", "10.92.0.0/24", "--gateway", "10.92.0.254"];
        await docker("network", "create", "-d", driver, "-o", "parent=uplink.10", ...pool, "vlan");
        expect(await must(["ip", "-details", "link", "show", "uplink.10"])).toContain("vlan protocol 802.1Q id 10");
        const ping = ["busybox", "ping", "-c1", "-W10", "10.92.0.1"];
        expect(await docker("run", "--rm", "--network", "vlan", "--ip", "10.92.0.9", ...ping)).toContain(
          "1 packets received",
        );
        await docker("network", "rm", "vlan");
      });
    }
  },
);
