// One machine under QEMU: from power on to power off.
import { spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { run } from "../lab/command.ts";
import { BARE_INIT, type Image } from "./image.ts";
import type { Disk } from "./job.ts";

export interface Machine {
  readonly image: Image;
  /** Folder for its root disk, result disk and logs. */
  readonly directory: string;
  readonly disks: readonly Disk[];
  /** Its number among the machines of the run, from 1. */
  readonly number: number;
  /** How often it has been switched on, this time included. */
  readonly boot: number;
  readonly systemd: boolean;
  /** Path of a Unix socket that joins two machines: the first one listens. None: no network at all. */
  readonly wire?: string;
  /** Gives the terminal to the machine's console instead of running its job. */
  readonly console: boolean;
  /** Seconds until the plug is pulled. */
  readonly timeout: number;
  /** Pulls the plug when it fires. */
  readonly over: AbortSignal;
  /** Gets the lines that the job says. */
  readonly say: (line: string) => void;
}

const MEMORY_MIB = 2048;
const TIME_IS_OVER = "time is over";

/** Whether the processor can help. A KVM device that is there but refuses to make a machine is as good as none. */
export async function hasKvm(): Promise<boolean> {
  const probe = ["qemu-system-x86_64", "-accel", "kvm", "-machine", "q35", "-cpu", "host", "-nodefaults", "-S"];
  const { code } = await run([...probe, "-display", "none", "-monitor", "stdio"], { input: "quit\n", timeout: 20 });
  return code === 0;
}

/** Words that run a machine once. */
function commandLine(machine: Machine, kvm: boolean): readonly string[] {
  const { image, directory } = machine;
  const kernel = [
    "root=/dev/vda rw console=ttyS0 quiet loglevel=3 mitigations=off net.ifnames=0 random.trust_cpu=on",
    "panic=-1 systemd.show_status=0",
    `portolan.machine=${machine.number} portolan.boot=${machine.boot}`,
    machine.console ? "portolan.console" : "systemd.mask=serial-getty@ttyS0.service",
    ...(machine.systemd ? [] : [`portolan.init=${BARE_INIT}`]),
  ];
  return [
    // Should this process be killed, the machine goes with it.
    ...["setpriv", "--pdeathsig", "KILL", "--", "qemu-system-x86_64"],
    ...["-machine", "q35,usb=off,vmport=off", "-nodefaults", "-display", "none", "-no-reboot"],
    // Two emulated processors panic now and then: the kernel patches its text while the other one runs it.
    ...(kvm ? ["-accel", "kvm", "-cpu", "host", "-smp", "2"] : ["-accel", "tcg", "-cpu", "max", "-smp", "1"]),
    ...["-m", `${MEMORY_MIB}`],
    ...["-kernel", image.kernel, "-initrd", image.initrd, "-append", kernel.join(" ")],
    ...(machine.console
      ? ["-serial", "mon:stdio", "-serial", `file:${join(directory, "job.log")}`]
      : ["-serial", `file:${join(directory, "console.log")}`, "-serial", "stdio"]),
    ...drive({ serial: "root", path: join(directory, "root.qcow2") }, "format=qcow2,cache=unsafe"),
    ...drive({ serial: "result", path: join(directory, "result.tar") }, "format=raw,cache=unsafe"),
    ...machine.disks.flatMap((disk) => drive(disk, "format=raw,readonly=on")),
    ...wire(machine),
  ];
}

function drive({ serial, path }: Disk, options: string): readonly string[] {
  const id = serial.replaceAll(".", "-");
  return [
    "-drive",
    `if=none,id=${id},file=${path},${options}`,
    "-device",
    `virtio-blk-pci,drive=${id},serial=${serial}`,
  ];
}

function wire({ wire: path, number }: Machine): readonly string[] {
  if (path === undefined) return ["-nic", "none"];
  const end = `stream,id=wire,server=${number === 1 ? "on" : "off"},addr.type=unix,addr.path=${path}`;
  return ["-netdev", end, "-device", `virtio-net-pci,netdev=wire,mac=52:54:00:00:00:0${number},romfile=`];
}

/** Prepares the disks that the machine writes to. The root disk is a layer over the image's, which stays as it is. */
export async function makeDisks(image: Image, directory: string): Promise<void> {
  const root = join(directory, "root.qcow2");
  await checked(["qemu-img", "create", "-q", "-f", "qcow2", "-b", image.root, "-F", "raw", root]);
  await emptyResult(directory);
}

/** A new result disk: what a boot leaves there is its own. */
export async function emptyResult(directory: string): Promise<void> {
  const path = join(directory, "result.tar");
  await checked(["sh", "-c", `rm -f "$1" && truncate --size=256M "$1"`, "sh", path]);
}

async function checked(argv: readonly string[]): Promise<void> {
  const { code, stderr, command } = await run(argv);
  if (code !== 0) throw new Error(`${command}: ${stderr.trim()}`);
}

/** Runs a machine until it powers off, panics or takes too long; resolves with a sentence when QEMU did not end by itself. */
export async function power(machine: Machine, kvm: boolean): Promise<string | undefined> {
  if (machine.over.aborted) return TIME_IS_OVER;
  const [file = "", ...args] = commandLine(machine, kvm);
  const child = spawn(file, args, { stdio: machine.console ? "inherit" : ["ignore", "pipe", "pipe"] });
  const log = createWriteStream(join(machine.directory, "job.log"), { flags: "a" });
  let rest = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    log.write(text);
    const lines = (rest + text.replaceAll("\r", "")).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) machine.say(stripVTControlCharacters(line));
  });
  child.stderr?.setEncoding("utf8").on("data", (text: string) => machine.say(`qemu: ${text.trimEnd()}`));
  const { promise, resolve, reject } = Promise.withResolvers<string | undefined>();
  let problem: string | undefined;
  const pullThePlug = (why: string): void => {
    problem = why;
    child.kill("SIGKILL");
  };
  const clock = setTimeout(() => pullThePlug(`no end after ${machine.timeout} s`), machine.timeout * 1000);
  const stop = (): void => pullThePlug(TIME_IS_OVER);
  machine.over.addEventListener("abort", stop);
  child.once("error", reject);
  child.once("close", (code) => {
    if (code !== 0) problem ??= `QEMU ended with ${code ?? "a signal"}`;
    resolve(problem);
  });
  try {
    return await promise;
  } finally {
    clearTimeout(clock);
    machine.over.removeEventListener("abort", stop);
    if (rest !== "") machine.say(rest);
    log.end();
  }
}
