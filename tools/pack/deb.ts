// `make deb`: the Debian package of this machine's architecture. The same input gives the same file.
//   node tools/pack/deb.ts [--out DIR]
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { DRIVERS } from "../drivers.ts";
import { install } from "./installation.ts";
import { run } from "./run.ts";
import { EPOCH, tidy } from "./tidy.ts";

const repository = join(import.meta.dirname, "../..");
const recipes = join(repository, "packaging/debian");
const NAME = "portolan";
const MAINTAINER = "Portolan maintainers <maintainers@portolan.example>";
/** What the programs link to is found by dpkg-shlibdeps; these are opened by name, or run. */
const DEPENDS = "libnftables1, init-system-helpers (>= 1.54)";
const RECOMMENDS = "docker.io | docker-ce, iptables";
/** The DHCP client of ts-macvlan, which also runs ip. */
const SUGGESTS = "udhcpc, iproute2";

const { version } = JSON.parse(readFileSync(join(repository, "lerna.json"), "utf8")) as { version: string };
const architecture = run("dpkg", "--print-architecture").trim();

function files(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? files(path) : [path];
  });
}

function compress(path: string): void {
  // Without a time in its header, the file is the same tomorrow.
  writeFileSync(`${path}.gz`, gzipSync(readFileSync(path), { level: 9 }));
  rmSync(path);
}

function addDocuments(root: string): void {
  const doc = join(root, "usr/share/doc", NAME);
  mkdirSync(doc, { recursive: true });
  cpSync(join(recipes, "copyright"), join(doc, "copyright"));
  const date = new Date(EPOCH * 1000).toUTCString().replace("GMT", "+0000");
  const changelog = `${NAME} (${version}) unstable; urgency=medium\n\n  * What is new for users: NEWS.md beside this file.\n`;
  writeFileSync(join(doc, "changelog"), `${changelog}\n -- ${MAINTAINER}  ${date}\n`);
  compress(join(doc, "changelog"));
  cpSync(join(repository, "CHANGELOG.md"), join(doc, "NEWS.md"));
  for (const page of files(join(root, "usr/share/man"))) compress(page);
  const overrides = join(root, "usr/share/lintian/overrides");
  mkdirSync(overrides, { recursive: true });
  cpSync(join(recipes, "lintian-overrides"), join(overrides, NAME));
}

/** Packages of the libraries that Node links to, as dpkg-shlibdeps finds them; the addons need no others. */
function libraries(node: string, work: string): string {
  mkdirSync(join(work, "debian"), { recursive: true });
  writeFileSync(join(work, "debian/control"), `Source: ${NAME}\n\nPackage: ${NAME}\nArchitecture: any\n`);
  const found = run("env", "-C", work, "dpkg-shlibdeps", "-O", "--warnings=0", node);
  return /^shlibs:Depends=(.*)$/m.exec(found)?.[1] ?? "libc6";
}

function addControl(root: string, depends: string): void {
  const control = join(root, "DEBIAN");
  const installed = files(root);
  const kilobytes = Math.ceil(installed.reduce((sum, path) => sum + statSync(path).size, 0) / 1024);
  mkdirSync(control);
  const fields = {
    Package: NAME,
    Version: version,
    Architecture: architecture,
    Maintainer: MAINTAINER,
    "Installed-Size": `${kilobytes}`,
    Depends: `${depends}, ${DEPENDS}`,
    Recommends: RECOMMENDS,
    Suggests: SUGGESTS,
    Section: "net",
    Priority: "optional",
    Description:
      "Docker network drivers that run outside dockerd\n" +
      ` The drivers ${DRIVERS.map(({ name }) => name).join(", ")}\n` +
      " make networks and give addresses for containers. They serve dockerd over Unix\n" +
      " sockets that systemd opens before dockerd starts: a driver can be restarted\n" +
      " and upgraded while containers keep talking.",
  };
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\n`);
  writeFileSync(join(control, "control"), lines.join(""));
  const sums = installed.map((path) => run("md5sum", path).replace(path, relative(root, path)));
  writeFileSync(join(control, "md5sums"), sums.toSorted().join(""));
  const units = (kind: string): string => DRIVERS.map(({ name }) => `${name}.${kind}`).join(" ");
  for (const script of ["postinst", "prerm", "postrm"]) {
    const text = readFileSync(join(recipes, script), "utf8");
    const filled = text.replaceAll("@SOCKETS@", units("socket")).replaceAll("@SERVICES@", units("service"));
    writeFileSync(join(control, script), filled);
    chmodSync(join(control, script), 0o755);
  }
}

const { values } = parseArgs({ options: { out: { type: "string", default: join(repository, "build") } } });
const out = resolve(values.out);
mkdirSync(out, { recursive: true });
const work = mkdtempSync(join(out, "deb-"));
const root = join(work, "root");
const file = join(out, `${NAME}_${version}_${architecture}.deb`);
await install(root, "/usr");
addDocuments(root);
for (const addon of files(root).filter((path) => path.endsWith(".node"))) {
  run("strip", "--strip-unneeded", addon);
  chmodSync(addon, 0o644);
}
addControl(root, libraries(join(root, "usr/lib/portolan/node"), work));
tidy(root);
run("env", `SOURCE_DATE_EPOCH=${EPOCH}`, "dpkg-deb", "--root-owner-group", "-Zxz", "-z2", "--build", root, file);
rmSync(work, { recursive: true });
const digest = run("sha256sum", file).split(" ")[0] ?? "";
const megabytes = (statSync(file).size / 1e6).toFixed(1);
process.stdout.write(`${relative(process.cwd(), file)}  ${megabytes} MB  sha256:${digest}\n`);
