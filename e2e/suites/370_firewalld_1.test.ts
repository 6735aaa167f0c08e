// Beside firewalld, which rejects what comes from links that it does not know. The engine makes no difference, so there is one.
import { addressIn, expectNoReach, expectReach, fetchFrom, runContainer } from "../lab/containers.ts";
import type { Host } from "../lab/host.ts";
import { ask, askFrom, remoteHost, runServer } from "../lab/ports.ts";
import { driver, isPlugin, onEveryEngine } from "../lab/suite.ts";
import { eventually } from "../lab/wait.ts";

const UNLIKE = "it tells firewalld of its bridges one by one";

/** What issue 3 allows. */
const SOON = { within: 2, every: 50 };

async function startFirewalld(host: Host): Promise<void> {
  await host.start("firewalld", ["firewalld", "--nofork", "--nopid"]);
  await eventually("firewalld runs", async () => (await host.exec(["firewall-cmd", "--state"])).code === 0);
}

async function isKnown(host: Host, link: string): Promise<boolean> {
  return (await host.exec(["firewall-cmd", `--get-zone-of-interface=${link}`])).code === 0;
}

/** dockerd looks for firewalld when it starts; the driver notices by itself. */
async function withFirewalld(host: Host): Promise<void> {
  await host.must(["sh", "-c", "mkdir -p /run/dbus && dbus-uuidgen --ensure"]);
  await host.start("dbus", ["dbus-daemon", "--system", "--nofork", "--nopidfile"]);
  await startFirewalld(host);
  if (isPlugin) await eventually("the driver has seen it", () => isKnown(host, "pt-+"));
  await host.stopDockerd();
  await host.startDockerd();
}

/** A zone that nobody uses any more keeps its chains until then. */
async function reload(host: Host): Promise<void> {
  await host.must(["firewall-cmd", "--reload"]);
}

async function neighbours(host: Host): Promise<void> {
  await host.docker("network", "create", "-d", driver, "hansa");
  await host.docker("network", "create", "-d", driver, "levant");
  await runServer(host, "lubeck", "--network", "hansa", "-p", "8080:80");
  await runServer(host, "acre", "--network", "levant");
}

/** A connection that began while nothing led it on stays where it is, so each try is a short one. */
async function isWhole(host: Host): Promise<boolean> {
  const short = ["curl", "-s", "--max-time", "0.3"];
  const published = await host.exec([...short, `http://${host.address.ipv4}:8080/`]);
  const outward = await host.exec([
    ...(await host.inNetworkOf("acre")),
    ...short,
    `http://${host.lab.underlay.server.ipv4}/`,
  ]);
  return published.stdout.trim() === "lubeck" && outward.stdout.trim() === host.address.ipv4;
}

onEveryEngine(
  "beside firewalld",
  ({ row, pluginRow, engine }) => {
    row(
      "containers reach the world, the host and each other's published ports, and others reach these",
      async (host) => {
        await using remote = await remoteHost(host, engine);
        const { ipv4 } = host.address;
        await neighbours(host);
        await runServer(host, "bergen", "--network", "hansa");
        await expectReach(host, "lubeck", "bergen", host.lab.underlay.server.ipv4);
        expect(await fetchFrom(host, "lubeck", host.lab.underlay.server.ipv4)).toBe(ipv4);
        for (const name of ["lubeck", "bergen", "acre"]) expect(await askFrom(host, name, ipv4, 8080)).toBe("lubeck");
        for (const address of ["127.0.0.1", ipv4]) expect(await ask(host, address, 8080)).toBe("lubeck");
        expect(await ask(remote, ipv4, 8080)).toBe("lubeck");
        const program = await host.start("program", ["busybox", "httpd", "-f", "-p", "8000", "-h", "/etc"]);
        await host.docker("exec", "lubeck", "sh", "-c", `echo | nc -w2 ${ipv4} 8000`);
        await program.stop("SIGKILL");
        await expectNoReach(host, "acre", await addressIn(host, "hansa", "lubeck"));
        await expectNoReach(host, "lubeck", await addressIn(host, "levant", "acre"));
      },
    );

    for (const command of ["--reload", "--complete-reload"])
      pluginRow(UNLIKE, `networks are whole again within two seconds after firewall-cmd ${command}`, async (host) => {
        await neighbours(host);
        await host.must(["firewall-cmd", command]);
        await eventually("the port is published, and containers reach the world", () => isWhole(host), SOON);
        await expectNoReach(host, "acre", await addressIn(host, "hansa", "lubeck"));
      });

    pluginRow(UNLIKE, "networks are whole while firewalld is away, and soon after it is back", async (host) => {
      await neighbours(host);
      await host.services.get("firewalld")?.stop("SIGTERM");
      await eventually("networks are whole without it", () => isWhole(host), SOON);
      await startFirewalld(host);
      await eventually("networks are whole with it", () => isWhole(host), { within: 10 });
    });

    pluginRow(
      UNLIKE,
      "a bridge with a name of its own is known, and an administrator's choice stands",
      async (host) => {
        const zoneOf = async (link: string) =>
          (await host.exec(["firewall-cmd", `--get-zone-of-interface=${link}`])).stdout.trim();
        const named = ["network", "create", "-d", driver, "-o", "com.docker.network.bridge.name=hansa0", "hansa"];
        await host.docker(...named);
        await runContainer(host, "lubeck", "--network", "hansa");
        await expectReach(host, "lubeck", host.lab.underlay.server.ipv4);
        expect(await zoneOf("hansa0")).toBe("docker");
        await host.docker("rm", "-f", "lubeck");
        await host.docker("network", "rm", "hansa");
        expect(await zoneOf("hansa0")).toBe("");
        await host.docker(...named);
        await host.must(["firewall-cmd", "--zone=drop", "--change-interface=hansa0"]);
        await host.stopPlugin(driver);
        await host.startPlugin(driver);
        expect(await zoneOf("hansa0")).toBe("drop");
        await host.docker("network", "rm", "hansa");
        await host.must(["firewall-cmd", "--zone=drop", "--remove-interface=hansa0"]);
        await reload(host);
        // Nothing of a network that has gone comes back.
        expect(await zoneOf("hansa0")).toBe("");
        expect(await host.must(["nft", "list", "ruleset"])).not.toContain("hansa0");
      },
    );

    pluginRow(
      "it has no doctor",
      "the doctor says what lets the networks through while the driver is away",
      async (host) => {
        const doctor = async () => {
          const argv = ["node", "/opt/portolan/packages/bridge-plugin/dist/main.js", "doctor", "--json"];
          const { findings } = JSON.parse((await host.exec(argv)).stdout) as {
            findings: readonly { readonly check: string; readonly mend: string }[];
          };
          return findings.filter(({ check }) => check === "other firewalls").map(({ mend }) => mend);
        };
        await host.docker("network", "create", "-d", driver, "hansa");
        expect(await doctor()).toEqual([]);
        await host.stopPlugin(driver);
        await host.must(["firewall-cmd", "--zone=docker", "--remove-interface=pt-+"]);
        const [mend = "", ...rest] = await doctor();
        expect(rest).toEqual([]);
        await host.must(["sh", "-c", mend]);
        expect(await doctor()).toEqual([]);
        await host.startPlugin(driver);
        await runContainer(host, "lubeck", "--network", "hansa");
        await expectReach(host, "lubeck", host.lab.underlay.server.ipv4);
        await host.must(["firewall-cmd", "--permanent", "--zone=trusted", "--remove-interface=pt-+"]);
        await host.must(["firewall-cmd", "--zone=docker", "--change-interface=pt-+"]);
        await reload(host);
      },
    );
  },
  { only: { engine: "26", packages: ["firewalld"] }, prepare: withFirewalld },
);
