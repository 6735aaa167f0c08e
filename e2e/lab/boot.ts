// Pid 1 of a host until it hands over to Docker's init: makes a machine that has just been switched on out of new
// namespaces. Run by host.ts with a Disks as JSON; what fails goes to standard error and ends the host.
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, symlinkSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";

/** Where a host's file systems come from; all paths are the machine's. */
export interface Disks {
  readonly name: string;
  readonly machineId: string;
  /** The tree of the engine; never written to. */
  readonly tree: string;
  /** What the host changes in its root; kept over a reboot. */
  readonly changes: string;
  /** Scratch of the overlay file system, beside `changes`. */
  readonly work: string;
  /** /var/lib/docker. overlay2 cannot stand on an overlay, so it has a directory of a real file system. */
  readonly docker: string;
  /** Empty directory where the root is put together. */
  readonly root: string;
  /** The address of a resolver. Docker puts public ones in place of a local address. */
  readonly nameserver: string;
  /** Seen as /opt/portolan, not writable. */
  readonly repository: string;
  /** Seen as /var/cache/node: what Node compiled in any run. A third of a plugin's start would be doing it again. */
  readonly compiled: string;
}

const disks = JSON.parse(process.argv[2] ?? "") as Disks;
const at = (path: string): string => join(disks.root, path);

function run(...argv: [string, ...string[]]): void {
  execFileSync(argv[0], argv.slice(1), { stdio: ["ignore", "ignore", "inherit"] });
}

function mount(type: string, path: string, options = "rw"): void {
  mkdirSync(at(path), { recursive: true });
  run("mount", "-t", type, "-o", options, type, at(path));
}

function bind(source: string, path: string, ...how: string[]): void {
  mkdirSync(at(path), { recursive: true });
  run("mount", ...(how.length > 0 ? how : ["--bind"]), source, at(path));
}

function mountFileSystems(): void {
  mount("overlay", "/", `lowerdir=${disks.tree},upperdir=${disks.changes},workdir=${disks.work}`);
  mount("proc", "/proc");
  mount("sysfs", "/sys"); // a new one shows the links of this network namespace
  bind("/sys/fs/cgroup", "/sys/fs/cgroup", "--rbind");
  mount("tmpfs", "/run", "mode=755");
  mount("tmpfs", "/tmp", "mode=1777");
  bind(disks.docker, "/var/lib/docker");
  bind(disks.repository, "/opt/portolan", "--rbind"); // with the managed plugins that a VM has there
  run("mount", "-o", "remount,bind,ro", at("/opt/portolan"));
  bind(disks.compiled, "/var/cache/node");
  mkdirSync(at("/run/docker/plugins"), { recursive: true });
  mkdirSync(at("/run/lock"));
}

/** A /dev of its own: with the machine's, a chmod in here would change the machine. */
function makeDevices(): void {
  mount("tmpfs", "/dev", "mode=755,size=1m");
  const devices: [name: string, mode: string, major: string, minor: string][] = [
    ["null", "666", "1", "3"],
    ["zero", "666", "1", "5"],
    ["full", "666", "1", "7"],
    ["random", "666", "1", "8"],
    ["urandom", "666", "1", "9"],
    ["kmsg", "600", "1", "11"],
    ["tty", "666", "5", "0"],
    ["net/tun", "666", "10", "200"],
    ["fuse", "666", "10", "229"],
  ];
  mkdirSync(at("/dev/net"));
  for (const [name, mode, major, minor] of devices) run("mknod", "-m", mode, at(`/dev/${name}`), "c", major, minor);
  mount("devpts", "/dev/pts", "newinstance,ptmxmode=0666,mode=620");
  mount("tmpfs", "/dev/shm", "mode=1777");
  mount("mqueue", "/dev/mqueue");
  symlinkSync("pts/ptmx", at("/dev/ptmx"));
  symlinkSync("/proc/self/fd", at("/dev/fd"));
  for (const [number, name] of ["stdin", "stdout", "stderr"].entries()) {
    symlinkSync(`/proc/self/fd/${number}`, at(`/dev/${name}`));
  }
}

function enterRoot(): void {
  mkdirSync(at("/oldroot"), { recursive: true });
  process.chdir(disks.root);
  run("pivot_root", ".", "oldroot");
  process.chdir("/");
  run("umount", "-l", "/oldroot");
}

function nameHost(): void {
  run("hostname", disks.name);
  writeFileSync("/etc/hostname", `${disks.name}\n`);
  writeFileSync("/etc/hosts", `127.0.0.1 localhost ${disks.name}\n::1 localhost ${disks.name}\n`);
  writeFileSync("/etc/machine-id", `${disks.machineId}\n`);
  rmSync("/etc/resolv.conf", { force: true });
  // It answers that there is no such name. Where nobody answers, a look-up costs dockerd 20 s.
  writeFileSync("/etc/resolv.conf", `nameserver ${disks.nameserver}\n`);
}

/** As on a host that has just booted. dockerd turns IPv4 forwarding on, and FORWARD's policy to DROP because it did. */
function turnForwardingOff(): void {
  writeFileSync("/proc/sys/net/ipv4/ip_forward", "0");
  writeFileSync("/proc/sys/net/ipv6/conf/all/forwarding", "0");
}

mountFileSystems();
makeDevices();
enterRoot();
nameHost();
turnForwardingOff();
writeSync(1, "ready\n");
process.execve?.("/usr/bin/docker-init", ["docker-init", "--", "sleep", "infinity"], { PATH: "/usr/bin:/bin" });
