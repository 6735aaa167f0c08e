// `npm run e2e:shell -- 28`: a host with dockerd and the plugins, and a shell on it until you leave.
import { spawnSync } from "node:child_process";
import { engineCalled } from "./engines.ts";
import { Host } from "./host.ts";
import { Lab } from "./lab.ts";

const [word = "28", ...dockerdArgs] = process.argv.slice(2);
const engine = engineCalled(word);
await using lab = await Lab.open();
await using host = await Host.up(lab, { name: `docker-${word.replaceAll(/[^a-z0-9]/g, "-")}`, engine });
await host.startPlugin("ts-bridge");
await host.startDockerd(dockerdArgs);
await host.loadImage();

process.stderr.write(
  `Docker ${engine.version} on a host with the address ${host.address.ipv4}; outside is ${lab.underlay.server.ipv4}.\n` +
    `Try: docker network create -d ts-bridge demo && docker run --rm --network demo busybox wget -qO- ${lab.underlay.server.ipv4}\n` +
    `Logs: ${host.directory}/*.log    Leave with exit; the host and all that is on it is gone then.\n`,
);
// The shell gets the signals of the terminal; this process only waits for it to end.
process.on("SIGINT", () => undefined);
const [program, ...args] = host.inside(["env", `TERM=${process.env.TERM ?? "dumb"}`, "bash", "--norc", "-i"]);
spawnSync(program, args, { stdio: "inherit" });
