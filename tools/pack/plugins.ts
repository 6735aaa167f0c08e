// `make plugins`: makes the managed plugins below build/plugins and tells their sizes. node tools/pack/plugins.ts [NAME ...]
import { join } from "node:path";
import { DRIVERS } from "../drivers.ts";
import { measure } from "./measure.ts";
import { makePlugin } from "./plugin.ts";

const BUILD = join(import.meta.dirname, "../../build/plugins");
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;

const names = process.argv.slice(2);
for (const driver of DRIVERS.filter(({ name }) => names.length === 0 || names.includes(name))) {
  const folder = join(BUILD, driver.name);
  await makePlugin(driver, folder);
  const { digest, bytes, compressed } = await measure(folder);
  const sizes = `${megabytes(bytes)}, ${megabytes(compressed)} compressed`;
  process.stdout.write(`build/plugins/${driver.name}  ${sizes}  sha256:${digest}\n`);
}
