// `make plugins`: makes the managed plugins and tells their sizes.
//   node tools/pack/plugins.ts [--out DIR] [--from DIR --version TEXT] [NAME ...]
// --from takes packages and plugin-configs of another state of the repository, --version is what these plugins then tell.
import { join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { DRIVERS } from "../drivers.ts";
import { measure } from "./measure.ts";
import { makePlugin } from "./plugin.ts";

const repository = resolve(import.meta.dirname, "../..");
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;

const text = (fallback: string) => ({ type: "string", default: fallback }) as const;
const { values, positionals: names } = parseArgs({
  allowPositionals: true,
  options: { out: text(join(repository, "build/plugins")), from: text(repository), version: { type: "string" } },
});

for (const driver of DRIVERS.filter(({ name }) => names.length === 0 || names.includes(name))) {
  const folder = resolve(values.out, driver.name);
  const source = join(resolve(values.from), relative(repository, driver.source));
  await makePlugin({ ...driver, source }, resolve(values.from, "plugin-configs"), folder, values.version);
  const { digest, bytes, compressed } = await measure(folder);
  const sizes = `${megabytes(bytes)}, ${megabytes(compressed)} compressed`;
  process.stdout.write(`${relative(process.cwd(), folder)}  ${sizes}  sha256:${digest}\n`);
}
