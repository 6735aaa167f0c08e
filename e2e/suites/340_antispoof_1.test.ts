// Containers that may change their own network send from their own addresses all the same.
import { setTimeout as sleep } from "node:timers/promises";
import { addressIn, execIn, runContainer } from "../lab/containers.ts";
import type { Host } from "../lab/host.ts";
import { driver, onEveryEngine } from "../lab/suite.ts";
import { eventually } from "../lab/wait.ts";

const UNLIKE = "the built-in driver lets containers send from any address";

/** Of an address that nobody on the network has. */
const FREE = "172.31.240.99";
const SUBNET = ["--subnet", "172.31.240.0/24"];

/** Sends an ARP answer: PORT-INDEX SENDER-MAC SENDER-IP TARGET-MAC TARGET-IP in hexadecimal, in a frame from `from`. */
const ARP = `my ($index, $from, $mac, $ip, $to, $target) = @ARGV;
socket(my $socket, 17, 3, 0) or die $!;
my $frame = pack("H*", $to . $from . "0806" . "0001080006040002" . $mac . $ip . $to . $target);
send($socket, $frame . ("\\0" x 18), 0, pack("SnlSCCx8", 17, 3, $index, 0, 0, 0)) or die $!;`;

async function twoContainers(host: Host, options: readonly string[] = [], ofLubeck = "hansa"): Promise<void> {
  await host.docker("network", "create", "-d", driver, ...SUBNET, ...options, "hansa");
  await runContainer(host, "lubeck", "--network", ofLubeck, "--cap-add", "NET_ADMIN");
  await runContainer(host, "bergen", "--network", "hansa");
}

/** Whether bergen hears lubeck from an address that lubeck took for itself. */
async function isHeard(host: Host): Promise<boolean> {
  const words = await host.inNetworkOf("lubeck");
  await host.exec([...words, "ip", "address", "replace", `${FREE}/24`, "dev", "eth0"]);
  const bergen = await addressIn(host, "hansa", "bergen");
  const ping = await host.exec([...words, "ping", "-c1", "-W1", "-I", FREE, bergen]);
  await host.must([...words, "ip", "address", "del", `${FREE}/24`, "dev", "eth0"]);
  const plain = await host.exec([...words, "ping", "-c1", "-W2", bergen]);
  expect(plain.code).toBe(0);
  return ping.code === 0;
}

/** The MAC address that bergen believes lubeck's neighbour, the gateway, to have after lubeck has told it its own. */
async function gatewayAfterLie(host: Host): Promise<{ believed: string; lie: string }> {
  const lubeck = await host.inNetworkOf("lubeck");
  const bergen = await host.inNetworkOf("bergen");
  expect(await execIn(host, "bergen", "ping", "-c1", "-W2", "172.31.240.1")).toBeDefined();
  const mac = async (words: readonly string[]) =>
    /^(\d+):.* link\/ether (\S+)/.exec(await host.must([...words, "ip", "-o", "link", "show", "eth0"]))?.slice(1) ?? [];
  const [[index = "", lie = ""], [, victim = ""]] = [await mac(lubeck), await mac(bergen)];
  const bare = (text: string) => text.replaceAll(":", "");
  const hexadecimal = (address: string) => Buffer.from(address.split(".").map(Number)).toString("hex");
  const target = hexadecimal(await addressIn(host, "hansa", "bergen"));
  const told = [index, bare(lie), bare(lie), hexadecimal("172.31.240.1"), bare(victim), target];
  // Linux believes no second answer within a second of the first.
  await sleep(1200);
  for (let n = 0; n < 5; n += 1) await host.must([...lubeck, "perl", "-e", ARP, ...told]);
  const table = await host.must([...bergen, "ip", "neighbour", "show", "172.31.240.1"]);
  return { believed: /lladdr (\S+)/.exec(table)?.[1] ?? "", lie };
}

onEveryEngine("containers", ({ pluginRow }) => {
  pluginRow(
    UNLIKE,
    "are not heard from an address that they took for themselves, and go on from their own",
    async (host) => {
      await twoContainers(host);
      expect(await isHeard(host)).toBe(false);
    },
  );

  pluginRow(UNLIKE, "can't tell others that they are the gateway", async (host) => {
    await twoContainers(host);
    const { believed, lie } = await gatewayAfterLie(host);
    expect(believed).toMatch(/^..:/);
    expect(believed).not.toBe(lie);
  });

  pluginRow(UNLIKE, "are heard from any address on a network that allows it", async (host) => {
    await twoContainers(host, ["-o", "portolan.antispoof=false"]);
    expect(await isHeard(host)).toBe(true);
    const { believed, lie } = await gatewayAfterLie(host);
    expect(believed).toBe(lie);
  });

  pluginRow(UNLIKE, "are heard from any address where the container alone may", async (host) => {
    await host.docker("network", "create", "-d", driver, ...SUBNET, "hansa");
    await runContainer(host, "bergen", "--network", "hansa");
    await runContainer(host, "lubeck", "--network", "name=hansa,driver-opt=portolan.antispoof=false");
    expect(await isHeard(host)).toBe(true);
  });

  pluginRow(
    UNLIKE,
    "are held to their addresses while the driver is away and when others flush the rules",
    async (host) => {
      await twoContainers(host);
      await host.stopPlugin(driver, "SIGKILL");
      expect(await isHeard(host)).toBe(false);
      await host.startPlugin(driver);
      expect(await isHeard(host)).toBe(false);
      await host.must(["nft", "delete", "table", "bridge", "portolan-bridge"]);
      await eventually("lubeck is held to its address again", async () => !(await isHeard(host)), { within: 3 });
      await host.must(["nft", "flush", "set", "bridge", "portolan-bridge", "guarded"]);
      await eventually("lubeck is held to its address again", async () => !(await isHeard(host)), { within: 3 });
    },
  );

  pluginRow(UNLIKE, "with an option for them that nobody knows are refused with those that there are", async (host) => {
    await host.docker("network", "create", "-d", driver, ...SUBNET, "hansa");
    const network = "name=hansa,driver-opt=portolan.antispof=false";
    await expect(runContainer(host, "lubeck", "--network", network)).rejects.toThrow(/portolan\.antispoof/);
  });
});
