// `make install` and `make uninstall`: node tools/pack/install.ts [--undo] ROOT PREFIX
import { isAbsolute } from "node:path";
import { parseArgs } from "node:util";
import { DRIVERS } from "../drivers.ts";
import { install, uninstall } from "./installation.ts";

const { values, positionals } = parseArgs({ allowPositionals: true, options: { undo: { type: "boolean" } } });
const [root = "", prefix = ""] = positionals;
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const units = DRIVERS.flatMap(({ name }) => [`${name}.socket`, `${name}.service`]).join(" ");

if (!isAbsolute(prefix) || (root !== "" && !isAbsolute(root))) {
  process.stderr.write(
    `PREFIX ("${prefix}") has to be an absolute path, and DESTDIR ("${root}") too, if it is given.\n`,
  );
  process.exitCode = 2;
} else if (values.undo === true) {
  uninstall(root || "/", prefix);
  say("Removed. What the drivers keep on this host stays in /var/lib/portolan.");
} else {
  await install(root || "/", prefix);
  if (root === "") say(`Installed. Start them with:\n\n  systemctl daemon-reload\n  systemctl enable --now ${units}`);
}
