// `make up`: runs the drivers against this host's Docker and says what to type next.
import { DRIVERS } from "./drivers.ts";
import { findEngine, warningFor } from "./engine.ts";
import { runningPid, start } from "./running.ts";

const say = (line: string) => process.stdout.write(`${line}\n`);

async function up(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return "Network drivers change the host's links and firewall: run this as root.";
  const engine = await findEngine();
  if (typeof engine === "string") return engine;
  const warning = warningFor(engine.version);
  if (warning !== undefined) say(`Warning: ${warning}`);

  for (const driver of DRIVERS) {
    const pid = runningPid(driver);
    if (pid === undefined) await start(driver);
    say(`${driver.name} ${pid === undefined ? "started" : "runs already"} on ${driver.socket}, log in ${driver.log}`);
  }
  say(`
Docker ${engine.version} can use them now. Try:

  docker network create -d ts-bridge demo
  docker run --rm -it --network demo busybox ip addr

On the host's own LAN:

  docker network create -d ts-macvlan --subnet=192.168.1.0/24 --gateway=192.168.1.1 -o parent=eth0 lan

On several hosts, each started with \`make up PORTOLAN_STORE=etcd://10.0.0.1:2379\` and an --ip-range of its own:

  docker network create -d ts-overlay -o portolan.network=web --subnet 10.9.0.0/16 --ip-range 10.9.1.0/24 web

With addresses that are remembered and explained: docker network create -d ts-bridge --ipam-driver ts-ipam demo2
\`make down\` takes everything back.`);
  return undefined;
}

const problem = await up().catch((error: unknown) => (error instanceof Error ? error.message : String(error)));
if (problem !== undefined) {
  process.stderr.write(`${problem}\n`);
  process.exitCode = 1;
}
