// The machine that suites run on when they need a kernel of their own: a Debian release with systemd and with Docker
// installed the ordinary way, as a disk, a kernel and an initrd that QEMU can boot.
import { readFileSync } from "node:fs";
import { chmod, copyFile, mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { cached, digest } from "../../tools/cache.ts";
import { must } from "../lab/command.ts";

/** Paths of files that belong together; nothing ever writes to them. */
export interface Image {
  readonly root: string;
  readonly kernel: string;
  readonly initrd: string;
}

const SUITE = "trixie";
const INITRD_SETTINGS = "update-initramfs.conf";

const packages = [
  "linux-image-cloud-amd64",
  "systemd-sysv",
  "udev",
  "dbus",
  "docker.io",
  "docker-cli",
  // what the plugins need, and what the suites look with; as the hosts of the lab have it
  "libnftables1",
  "libatomic1",
  "libstdc++6",
  "iptables",
  "nftables",
  "iproute2",
  "iputils-ping",
  "procps",
  "kmod",
  "conntrack",
  "curl",
  "tcpdump",
  "busybox-static",
  "wireguard-tools",
  "ipvsadm",
  // the store that hosts share
  "etcd-server",
  // what bench/ measures with
  "iperf3",
];

/** Services that a suite starts when it needs them: at every boot they would cost time. */
const disabled = ["etcd.service"];

/** Services that only cost time on a machine that lives for a minute and has no network. */
const masked = [
  "apt-daily.timer",
  "apt-daily-upgrade.timer",
  "dpkg-db-backup.timer",
  "e2scrub_all.timer",
  "e2scrub_reap.service",
  "fstrim.timer",
  "getty@tty1.service",
  "ipvsadm.service",
  "systemd-firstboot.service",
  "systemd-timesyncd.service",
];

/** Files of ./guest and where the machine has them. */
const files: Readonly<Record<string, { readonly path: string; readonly mode: number }>> = {
  "portolan-job": { path: "/usr/local/sbin/portolan-job", mode: 0o755 },
  "bare-init": { path: "/usr/local/sbin/portolan-bare-init", mode: 0o755 },
  "portolan-prepare.service": { path: "/etc/systemd/system/portolan-prepare.service", mode: 0o644 },
  "portolan-job.service": { path: "/etc/systemd/system/portolan-job.service", mode: 0o644 },
  "autologin.conf": { path: "/etc/systemd/system/serial-getty@ttyS0.service.d/autologin.conf", mode: 0o644 },
};

/** Pid 1 of a machine that boots without systemd, several times faster. */
export const BARE_INIT = "/usr/local/sbin/portolan-bare-init";

/** Loaded before the root disk can be seen. The cloud kernel has ext4 and virtio's PCI bus built in. */
const initrdModules = ["virtio_blk"];

const guest = (name: string): string => join(import.meta.dirname, "guest", name);

/** The image; the first call takes a minute or two. */
export async function image(): Promise<Image> {
  const scripts = [...Object.keys(files), "initrd-init"].map((name) => readFileSync(guest(name), "utf8"));
  const inputs = { recipe: 1, SUITE, packages, disabled, masked, files, initrdModules, scripts };
  const folder = await cached(`vm/${SUITE}-${digest(inputs)}`, build);
  return { root: join(folder, "root.ext4"), kernel: join(folder, "vmlinuz"), initrd: join(folder, "initrd") };
}

async function build(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const tree = join(folder, "tree");
  await makeTree(tree);
  await configure(tree);
  await copyFile(join(tree, "boot", await only(join(tree, "boot"), /^vmlinuz-/)), join(folder, "vmlinuz"));
  await makeInitrd(tree, join(folder, "initrd"));
  await makeDisk(tree, join(folder, "root.ext4"), "8G");
  await rm(tree, { recursive: true });
}

async function makeTree(tree: string): Promise<void> {
  const unread = ["/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*"];
  await must(
    [
      "mmdebstrap",
      "--quiet",
      "--mode=root",
      "--variant=minbase",
      `--include=${packages.join(",")}`,
      ...unread.map((path) => `--dpkgopt=path-exclude=${path}`),
      // The kernel package would have Debian's own initrd made, which takes longer to make and to boot than ours.
      "--dpkgopt=force-confold",
      `--essential-hook=mkdir $1/etc/initramfs-tools; echo update_initramfs=no > $1/etc/initramfs-tools/${INITRD_SETTINGS}`,
      SUITE,
      tree,
    ],
    { timeout: 900 },
  );
}

async function configure(tree: string): Promise<void> {
  for (const [name, { path, mode }] of Object.entries(files)) {
    await mkdir(join(tree, path, ".."), { recursive: true });
    await copyFile(guest(name), join(tree, path));
    await chmod(join(tree, path), mode);
  }
  await must(["chroot", tree, "systemctl", "--quiet", "mask", ...masked]);
  await must(["chroot", tree, "systemctl", "--quiet", "disable", ...disabled]);
  await must(["chroot", tree, "systemctl", "--quiet", "enable", "portolan-prepare.service", "portolan-job.service"]);
  await must(["chroot", tree, "systemctl", "--quiet", "set-default", "graphical.target"]);
  await must(["chroot", tree, "passwd", "--quiet", "--delete", "root"]);
  await writeFile(join(tree, "etc/hostname"), "vm\n");
  await writeFile(join(tree, "etc/hosts"), "127.0.0.1 localhost vm\n::1 localhost vm\n");
  await rm(join(tree, "etc/resolv.conf"), { force: true });
  // Nobody listens there: a look-up fails at once, where an address that does not answer costs dockerd 20 s.
  await writeFile(join(tree, "etc/resolv.conf"), "nameserver 127.0.0.1\n");
  await mkdir(join(tree, "opt/portolan"), { recursive: true });
}

async function makeInitrd(tree: string, path: string): Promise<void> {
  const root = await mkdtemp(join(tmpdir(), "portolan-initrd-"));
  try {
    for (const name of ["bin", "dev", "proc", "sys", "root", "modules"]) await mkdir(join(root, name));
    await copyFile(join(tree, "usr/bin/busybox"), join(root, "bin/busybox"));
    await copyFile(guest("initrd-init"), join(root, "init"));
    await chmod(join(root, "init"), 0o755);
    const version = await only(join(tree, "usr/lib/modules"), /./);
    for (const [index, name] of initrdModules.entries()) {
      const [file = ""] = (await must(["chroot", tree, "modinfo", "-k", version, "-n", name])).split("\n");
      // Busybox loads plain modules only.
      const plain = `${root}/modules/${index}-${basename(file).replace(/\.ko.*/, ".ko")}`;
      await must(["sh", "-c", `xz -dc "$1" > "$2"`, "sh", join(tree, file), plain]);
    }
    const busybox = join(root, "bin/busybox");
    await must(["sh", "-c", `cd "$1" && find . | "$2" cpio -o -H newc > "$3"`, "sh", root, busybox, path]);
  } finally {
    await rm(root, { recursive: true });
  }
}

/** Makes an ext4 file system of `size` with the files of a tree; what stays empty takes no room. */
export async function makeDisk(tree: string, path: string, size: string): Promise<void> {
  const options = ["-q", "-t", "ext4", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1"];
  await must(["mke2fs", ...options, "-d", tree, path, size], { timeout: 300 });
}

async function only(folder: string, pattern: RegExp): Promise<string> {
  const [name, ...others] = (await readdir(folder)).filter((entry) => pattern.test(entry));
  if (name === undefined || others.length > 0) throw new Error(`${folder} has not exactly one ${String(pattern)}`);
  return name;
}
