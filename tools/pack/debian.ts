// The Debian release whose libraries and programs are in a managed plugin, whatever the machine has that makes it.
import { join } from "node:path";
import { cached, digest } from "../cache.ts";
import { run } from "./run.ts";

/**
 * Its nft is of the series 1.1, as in the newest releases of other distributions. libnftables 1.0, as in Debian 12, crashes
 * where nft 1.1 has made sets on the host.
 */
const SUITE = "trixie";
/** With what they depend on: libnftables, iptables-legacy with its modules, Node's C++ library, and names of protocols. */
const PACKAGES = ["libnftables1", "iptables", "libstdc++6", "netbase"];

interface Architecture {
  /** In the names of Debian's folders. */
  readonly triplet: string;
  /** As programs name it. */
  readonly loader: string;
}

const ARCHITECTURES: Readonly<Record<string, Architecture>> = {
  x64: { triplet: "x86_64-linux-gnu", loader: "/lib64/ld-linux-x86-64.so.2" },
  arm64: { triplet: "aarch64-linux-gnu", loader: "/lib/ld-linux-aarch64.so.1" },
};

export class DebianFiles {
  /** Where its root is on this machine. */
  readonly root: string;
  /** The folder of its libraries, seen from that root. */
  readonly libraries: string;
  readonly #loader: string;

  private constructor(root: string, { triplet, loader }: Architecture) {
    this.root = root;
    this.libraries = `/usr/lib/${triplet}`;
    this.#loader = `/usr${loader}`;
  }

  /** Downloads and unpacks the packages the first time, and keeps them. @throws Error on another kind of processor */
  static async open(): Promise<DebianFiles> {
    const architecture = ARCHITECTURES[process.arch];
    if (!architecture) throw new Error(`plugins are made on x64 or arm64, and this machine is ${process.arch}`);
    const inputs = { recipe: 1, arch: process.arch, suite: SUITE, packages: PACKAGES };
    const root = await cached(`libraries/${SUITE}-${digest(inputs)}`, (path) => {
      run("mmdebstrap", "--quiet", "--variant=extract", `--include=${PACKAGES.join(",")}`, SUITE, path);
      return Promise.resolve();
    });
    return new DebianFiles(root, architecture);
  }

  /**
   * The libraries that files of any place need, all that these need, and the loader.
   * @returns their paths seen from the root
   * @throws Error naming one that is not there
   */
  closure(files: readonly string[]): readonly string[] {
    const found = new Set([this.#loader]);
    for (const file of files) {
      const told = run(
        join(this.root, this.#loader),
        "--list",
        "--library-path",
        join(this.root, this.libraries),
        file,
      );
      for (const [, name = "", path] of told.matchAll(/^\s*(\S+) => (\/\S+|not found)/gm)) {
        if (name.endsWith(this.#loader.replace(/.*\//, ""))) continue;
        if (!path?.startsWith(`${this.root}/`))
          throw new Error(`${file} needs ${name}, which is in no package of ours`);
        found.add(path.slice(this.root.length));
      }
    }
    return [...found].toSorted();
  }
}
