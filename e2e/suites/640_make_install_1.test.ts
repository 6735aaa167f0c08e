// What `make install` and `make uninstall` do, with DESTDIR and PREFIX as packers use them: the tree is made on this machine and
// laid on a host, whose Docker then works with it.
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { must, run } from "../lab/command.ts";
import { expectReach, runContainer } from "../lab/containers.ts";
import { onHosts } from "../lab/several.ts";
import { eventually } from "../lab/wait.ts";

const repository = join(import.meta.dirname, "../..");
const PREFIX = "/usr/local";
const DRIVERS = ["ts-bridge", "ts-macvlan", "ts-ipvlan", "ts-overlay", "ts-ipam"];

const program = (...words: string[]) => ["env", "-C", repository, "node", "tools/pack/install.ts", ...words];

onHosts("make install", { needs: { hosts: 1 } }, ({ step, on }) => {
  let stage = "";
  const files = async (): Promise<readonly string[]> => {
    const entries = await readdir(stage, { recursive: true, withFileTypes: true });
    return entries.filter((entry) => !entry.isDirectory()).map(({ parentPath, name }) => join(parentPath, name));
  };

  beforeAll(async () => {
    stage = await mkdtemp(join(tmpdir(), "portolan-install-"));
  });
  afterAll(() => rm(stage, { recursive: true }));

  step("refuses a PREFIX or a DESTDIR that is no absolute path, and names it", async () => {
    for (const words of [
      ["", "usr"],
      ["stage", "/usr"],
    ]) {
      const { code, stderr } = await run(program(...words));
      expect(code).toBe(2);
      expect(stderr).toContain(`"${words.find((word) => word !== "" && !word.startsWith("/"))!}"`);
    }
  });

  step(
    "puts programs, units, manual pages and completions below PREFIX in DESTDIR, and nothing elsewhere",
    async () => {
      await must(program(stage, PREFIX), { timeout: 400 });
      const found = await files();
      expect(found.filter((path) => !path.startsWith(join(stage, PREFIX)))).toEqual([]);
      for (const name of DRIVERS) {
        const wanted = ["socket", "service"].map((kind) => `lib/systemd/system/${name}.${kind}`);
        const completions = [`bash-completion/completions/${name}`, `zsh/vendor-completions/_${name}`];
        const share = [`man/man8/${name}.8`, ...completions, `fish/vendor_completions.d/${name}.fish`];
        for (const path of [`bin/${name}`, ...wanted, ...share.map((each) => `share/${each}`)])
          expect(found).toContain(join(stage, PREFIX, path));
        const unit = await readFile(join(stage, PREFIX, `lib/systemd/system/${name}.service`), "utf8");
        expect(unit).toContain(`ExecStart=${PREFIX}/bin/${name}\n`);
      }
    },
    500,
  );

  step("is enough for a host", async () => {
    const host = on(1);
    await must(["cp", "-a", `${stage}/.`, host.path("/")], { timeout: 60 });
    for (const name of DRIVERS) {
      await host.start(name, [`${PREFIX}/bin/${name}`]);
      await eventually(`${name} is ready`, async () => {
        return (await host.get(`/run/portolan/${name}.sock`, "/healthz"))?.status === 200;
      });
    }
    await host.docker("network", "create", "-d", "ts-bridge", "--ipam-driver", "ts-ipam", "hansa");
    await runContainer(host, "lubeck", "--network", "hansa");
    await runContainer(host, "bergen", "--network", "hansa");
    await expectReach(host, "lubeck", "bergen");
  });

  step("is undone by make uninstall, which takes only what is its own", async () => {
    await must(["sh", "-c", `echo mine > $0/bin/other`, join(stage, PREFIX)]);
    await must(program("--undo", stage, PREFIX), { timeout: 60 });
    expect(await files()).toEqual([join(stage, PREFIX, "bin/other")]);
  });
});
