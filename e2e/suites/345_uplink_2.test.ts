// Networks of two hosts on one LAN at layer 2: containers reach each other and the LAN's machines under their own addresses.
import { addressIn, expectReach, runContainer } from "../lab/containers.ts";
import type { Host } from "../lab/host.ts";
import { linkNames } from "../lab/lan.ts";
import { onHosts } from "../lab/several.ts";
import { driver, isPlugin } from "../lab/suite.ts";
import { eventually } from "../lab/wait.ts";

const SUBNET = "10.93.0.0/24";
/** A machine of the LAN that knows nothing of Docker. */
const STATION = "10.93.0.250";

const DOCTOR = ["node", "/opt/portolan/packages/bridge-plugin/dist/main.js", "doctor"];

/** The LAN: a wire between the hosts, on the second one a station that is a switch as well. */
async function layWire(hosts: readonly Host[]): Promise<void> {
  const addresses = await Promise.all(hosts.map(addressOf));
  for (const [index, host] of hosts.entries()) {
    const remote = addresses[1 - index] ?? "";
    const name = index === 0 ? "lan0" : "wire";
    await host.must([
      "ip",
      "link",
      "add",
      name,
      "type",
      "vxlan",
      "id",
      "93",
      "remote",
      remote,
      "dstport",
      "4793",
      "dev",
      "eth0",
    ]);
  }
  const [, second] = hosts;
  // In a namespace of its own: a switch is none of the host's firewall's business.
  const batch = [
    "netns add station",
    "link set wire netns station",
    "link add lan0 type veth peer name jack netns station",
    "link set lan0 mtu 1450",
    "-n station link add switch type bridge",
    ...["wire", "jack"].map((name) => `-n station link set ${name} master switch mtu 1450 up`),
    `-n station address add ${STATION}/24 dev switch`,
    "-n station link set switch up",
  ];
  for (const words of batch) await second?.must(["ip", ...words.split(" ")]);
}

async function addressOf(host: Host): Promise<string> {
  const [, address = ""] = /inet ([\d.]+)/.exec(await host.must(["ip", "-4", "address", "show", "dev", "eth0"])) ?? [];
  return address;
}

/** Each host has an address of its own there, and a share for its containers. */
function create(host: Host, number: number, uplink: string, name = "lan", subnet = SUBNET): Promise<string> {
  const own = (last: string) => subnet.replace("0/24", last);
  const pool = ["--subnet", subnet, "--ip-range", own(`${64 * number}/26`), "--gateway", own(String(number))];
  return host.docker("network", "create", "-d", driver, "-o", `portolan.uplink=${uplink}`, ...pool, name);
}

const fromStation = (host: Host, ...words: string[]) => host.must(["ip", "netns", "exec", "station", ...words]);

async function network(
  host: Host,
): Promise<{ readonly uplink?: string; readonly trouble?: string; readonly mtu?: number }> {
  const answer = await host.get(`/run/portolan/${driver}.sock`, "/status");
  const { networks } = JSON.parse(answer?.body ?? "") as { readonly networks: readonly Record<string, never>[] };
  return networks[0] ?? {};
}

const prepare: NonNullable<Parameters<typeof onHosts>[1]["prepare"]> = async (hosts) => {
  for (const host of hosts) {
    await host.startPlugin(driver);
    await host.startDockerd();
    await host.loadImage();
  }
  await layWire(hosts);
};

if (isPlugin) {
  onHosts("a network with an uplink", { needs: { hosts: 2 }, prepare }, ({ step, on }) => {
    step("has its containers on the LAN, beside those of another host and machines of no host", async () => {
      for (const number of [1, 2]) {
        await create(on(number), number, "lan0");
        await runContainer(on(number), `c${number}`, "--network", "lan");
      }
      await expectReach(on(1), "c1", await addressIn(on(2), "lan", "c2"));
      await expectReach(on(2), "c2", await addressIn(on(1), "lan", "c1"));
      await on(1).docker("exec", "c1", "ping", "-c1", "-W5", STATION);
      const neighbours = await fromStation(on(2), "ping", "-c1", "-W5", await addressIn(on(1), "lan", "c1")).then(() =>
        fromStation(on(2), "ip", "neighbour"),
      );
      const mac = (await on(1).docker("exec", "c1", "cat", "/sys/class/net/eth0/address")).trim();
      expect(neighbours).toContain(mac);
      expect(await network(on(1))).toMatchObject({ uplink: "lan0", mtu: 1450 });
    });

    step("keeps large packets whole, and forged ones out of the LAN", async () => {
      await on(1).docker("exec", "c1", "ping", "-c1", "-W5", "-s", "1400", STATION);
      const forged = ["ip", "address", "add", "10.93.0.77/24", "dev", "eth0"];
      await on(1).must([...(await on(1).inNetworkOf("c1")), ...forged]);
      const ping = await on(1).tryDocker("exec", "c1", "ping", "-c1", "-W2", "-I", "10.93.0.77", STATION);
      expect(ping.code).not.toBe(0);
      await on(1).must([...(await on(1).inNetworkOf("c1")), ...forged.map((word) => (word === "add" ? "del" : word))]);
    });

    step("is refused an uplink that another one has, or with which the host would cut itself off", async () => {
      const again = create(on(1), 1, "lan0", "more", "10.94.0.0/24");
      await expect(again).rejects.toThrow("it is the uplink of network");
      await expect(create(on(1), 1, "eth0", "more", "10.94.0.0/24")).rejects.toThrow("the host has the addresses");
      expect(await on(1).docker("network", "ls", "-q", "--filter", "name=more")).toBe("");
    });

    step("takes its uplink again when that was pulled out and plugged in, and says so meanwhile", async () => {
      const far = await addressOf(on(2));
      await on(1).must(["ip", "link", "del", "lan0"]);
      const says = (test: (trouble: string | undefined) => boolean) => async () => test((await network(on(1))).trouble);
      await eventually(
        "the uplink is missed",
        says((trouble) => trouble?.includes("lan0") === true),
        { within: 5 },
      );
      expect((await on(1).exec(DOCTOR)).stdout).toContain("the uplink lan0 is not joined");
      const words = ["type", "vxlan", "id", "93", "remote", far, "dstport", "4793", "dev", "eth0"];
      await on(1).must(["ip", "link", "add", "lan0", ...words]);
      await eventually(
        "the uplink is taken",
        says((trouble) => trouble === undefined),
        { within: 5 },
      );
      await expectReach(on(1), "c1", await addressIn(on(2), "lan", "c2"));
    });

    step(
      "has it after the driver was killed, and gives it back as it was, to the next network or to nobody",
      async () => {
        await on(2).stopPlugin(driver, "SIGKILL");
        await on(2).must(["ip", "link", "set", "lan0", "nomaster"]);
        await on(2).startPlugin(driver);
        await eventually("the uplink is taken", async () => {
          await expectReach(on(2), "c2", await addressIn(on(1), "lan", "c1"));
          return true;
        });
        await on(2).docker("rm", "-f", "c2");
        await on(2).docker("network", "rm", "lan");
        const [lan0] = JSON.parse(await on(2).must(["ip", "-json", "link", "show", "lan0"])) as readonly {
          readonly master?: string;
          readonly flags: readonly string[];
        }[];
        expect([lan0?.master, lan0?.flags.includes("UP")]).toEqual([undefined, false]);
        expect((await linkNames(on(2))).filter((name) => name.startsWith("p"))).toEqual([]);
        await create(on(2), 2, "lan0");
        await runContainer(on(2), "c2", "--network", "lan");
        await expectReach(on(2), "c2", await addressIn(on(1), "lan", "c1"));
      },
    );
  });

  // One host is enough to see whose link it is; the LAN is the same.
  onHosts("a network with a VLAN as its uplink", { needs: { hosts: 2, modules: ["8021q"] } }, ({ step, on }) => {
    step("makes the VLAN, reaches those on it, has it after a reboot, and takes it away with itself", async () => {
      for (const number of [1, 2]) {
        await on(number).startPlugin(driver);
        await create(on(number), number, "eth0.93");
        await runContainer(on(number), `c${number}`, "--network", "lan");
      }
      expect(await on(1).must(["ip", "-details", "link", "show", "eth0.93"])).toContain("vlan protocol 802.1Q id 93");
      await expectReach(on(1), "c1", await addressIn(on(2), "lan", "c2"));
      await on(1).powerOff();
      await on(1).powerOn();
      await on(1).startPlugin(driver);
      await on(1).startDockerd();
      await on(1).docker("start", "c1");
      await expectReach(on(1), "c1", await addressIn(on(2), "lan", "c2"));
      await on(1).docker("rm", "-f", "c1");
      await on(1).docker("network", "rm", "lan");
      expect(await linkNames(on(1))).not.toContain("eth0.93");
    });
  });
}
