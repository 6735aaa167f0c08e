// `make e2e-vm SHELL=1`: a machine with systemd, Docker and the repository, and its console on this terminal.
import { engineCalled } from "../lab/engines.ts";
import { image } from "./image.ts";
import { disksOf } from "./job.ts";
import { productsDisk } from "./products.ts";
import { makeDisks, power } from "./qemu.ts";
import { openRun } from "./runs.ts";

const WELCOME = `
You will be root on the machine's console. /opt/portolan is the repository as it is now, writable and forgotten at the end.
  cp -a /run/portolan-job/products/installed/. / && systemctl daemon-reload && systemctl enable --now ts-bridge.socket
                         installs the drivers as \`make install\` does, and starts one
  systemctl poweroff     ends the machine, Ctrl-A X pulls the plug
`;
const DAY = 24 * 60 * 60;

/** Resolves with an exit status when the machine is off again. */
export async function openConsole(repository: string, kvm: boolean): Promise<number> {
  await using run = await openRun("console");
  const { directory } = run;
  const made = await image();
  await makeDisks(made, directory);
  const job = { command: "", environment: {}, engines: [engineCalled("trixie")] };
  const disks = [...(await disksOf(job, repository, directory)), await productsDisk(repository, directory)];
  process.stdout.write(WELCOME);
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  const common = {
    number: 1,
    boot: 1,
    systemd: true,
    console: true,
    timeout: DAY,
    over: new AbortController().signal,
    say,
  };
  const problem = await power({ ...common, image: made, directory, disks }, kvm);
  if (problem !== undefined) say(problem);
  return problem === undefined ? 0 : 1;
}
