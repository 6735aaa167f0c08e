// The README's example does what the README says.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { inOwnNamespace } from "./testing/own-namespace.ts";

const folder = new URL("../", import.meta.url);
const readme = readFileSync(new URL("README.md", folder), "utf8");
const block = (language: string) => new RegExp(`\`\`\`${language}\n([^]*?)\`\`\``).exec(readme)?.[1];

inOwnNamespace("the README", () => {
  it("shows an example that prints what is said", () => {
    const node = ["--conditions=source", "--input-type=module-typescript", "-e", block("ts") ?? ""];
    const printed = execFileSync(process.execPath, node, { cwd: folder, encoding: "utf8" });
    expect(printed).toBe(block("text"));
  });

  it("tells how to see the messages", () => {
    const program = `
      import { openKernel } from "@portolan/kernel";
      await using kernel = await openKernel();
      await kernel.links.get("lo");`;
    const node = ["--conditions=source", "--input-type=module", "-e", `${program} process.stdout.write("")`];
    const env = { ...process.env, PORTOLAN_DEBUG_NETLINK: "1" };
    const said = execFileSync("sh", ["-c", 'exec "$@" 2>&1', "sh", process.execPath, ...node], {
      env,
      cwd: folder,
      encoding: "utf8",
    });
    expect(said).toMatch(/^netlink > 1 GETLINK REQUEST\|ACK \(get link lo\) [0-9a-f]+$/m);
    expect(said).toMatch(/^netlink < 1 NEWLINK - [0-9a-f]+$/m);
    expect(said).toMatch(/^netlink < 1 ERROR CAPPED 00000000[0-9a-f]+$/m);
  });
});
