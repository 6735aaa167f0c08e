import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ProcSysctls } from "./sysctls.ts";

let mounted = "";
beforeEach(async () => {
  mounted = await mkdtemp(join(tmpdir(), "portolan-sysctls-"));
});
afterEach(() => rm(mounted, { recursive: true }));

test("uses the host's settings where a managed plugin has them mounted", async () => {
  await mkdir(join(mounted, "net/ipv4"), { recursive: true });
  await writeFile(join(mounted, "net/ipv4/ip_forward"), "0\n");
  const sysctls = new ProcSysctls(mounted);
  expect(await sysctls.set("net/ipv4/ip_forward", "1")).toBe(true);
  expect(await readFile(join(mounted, "net/ipv4/ip_forward"), "utf8")).toBe("1");
  expect(await sysctls.get("net/ipv4/no_such_setting")).toBeUndefined();
});

test("uses its own where nothing is mounted for them", async () => {
  const own = await readFile("/proc/sys/kernel/ostype", "utf8");
  await mkdir(join(mounted, "net"));
  expect(await new ProcSysctls(mounted).get("kernel/ostype")).toBe(own.trimEnd());
});
