// The one image of the suites: Debian's busybox, imported into every dockerd. There is no registry.
import { mkdir, mkdtemp, copyFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { tmpdir } from "node:os";
import { cached, digest } from "../../tools/cache.ts";
import { must } from "./command.ts";
import { engineCalled } from "./engines.ts";
import { tree, treeName } from "./tree.ts";

export const image = "busybox";

/** What `docker import` is told beside the files. */
export const imageChanges = ["ENV PATH=/bin", 'CMD ["sh"]'];

/** The path of a tar archive with the image's files. */
export async function imageArchive(): Promise<string> {
  // One busybox for all engines, trixie's: the one of bookworm (1.35) dies in `wget -T`.
  const engine = engineCalled("trixie");
  return cached(`images/busybox-${digest({ recipe: 1, tree: treeName(engine) })}.tar`, async (path) => {
    const source = await tree(engine);
    const root = await mkdtemp(join(tmpdir(), "portolan-image-"));
    try {
      for (const folder of ["bin", "etc", "tmp", "root", "www"]) await mkdir(join(root, folder));
      const busybox = join(root, "bin/busybox");
      await copyFile(join(source, "usr/bin/busybox"), busybox);
      const applets = (await must([busybox, "--list"])).split("\n").filter((name) => name !== "busybox");
      for (const name of applets) await symlink("busybox", join(root, "bin", name));
      await writeFile(join(root, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n");
      await writeFile(join(root, "etc/group"), "root:x:0:\n");
      await must(["tar", "--create", "--owner=0", "--group=0", `--file=${path}`, `--directory=${root}`, "."]);
    } finally {
      await rm(root, { recursive: true });
    }
  });
}
