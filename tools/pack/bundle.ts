// A driver as one file that Node runs, with the native addons and data beside it: <folder>/dist/main.js.
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { build, type Loader, type Plugin } from "esbuild";
import type { Driver } from "../drivers.ts";

const root = join(import.meta.dirname, "../..");

/** The way to the program in a bundle's folder; package.json is where main.ts looks for the version. */
export const PROGRAM = "dist/main.js";

/** Packages in CommonJS ask for these, and an ES module has none of them. */
const BANNER = `import { createRequire as portolanCreateRequire } from "node:module";
const require = portolanCreateRequire(import.meta.url), __dirname = import.meta.dirname, __filename = import.meta.filename;`;

/** Files of packages that find their addon by where they are installed, and what stands there instead. */
const addons = [
  {
    filter: /node_modules\/koffi\/src\/koffi\/index\.js$/,
    search: "loadStatic(pkg) ?? loadDynamic(import.meta.dirname, pkg, triplets)",
    replace: 'createRequire(import.meta.url)("./koffi.node")',
  },
  {
    filter: /node_modules\/netlink\/dist\/raw\.js$/,
    search: "require('node-gyp-build')(__dirname + '/..')",
    replace: 'require("./netlink.node")',
  },
] as const;

const loadAddonsFromHere: Plugin = {
  name: "load-addons-from-here",
  setup(build) {
    for (const { filter, search, replace } of addons) {
      build.onLoad({ filter }, ({ path }) => {
        const text = readFileSync(path, "utf8");
        if (text.split(search).length !== 2) throw new Error(`${path} does not load its addon as it used to`);
        return { contents: text.replace(search, replace), loader: "js" satisfies Loader };
      });
    }
    build.onResolve({ filter: /^\.\/\w+\.node$/ }, ({ path }) => ({ path, external: true }));
  },
};

/** What packages look for beside themselves. */
const beside = (platform: string): readonly { readonly from: string; readonly to: string }[] => [
  { from: `koffi/../@koromix/koffi-${platform}/${platform.replace("-", "_")}/koffi.node`, to: "dist/koffi.node" },
  { from: `netlink/prebuilds/${platform}/node.napi.node`, to: "dist/netlink.node" },
  { from: "etcd3/proto", to: "proto" },
];

/** @param version what the program tells as its version; that of its package when left out */
export async function bundle({ name, source }: Driver, folder: string, version?: string): Promise<void> {
  mkdirSync(join(folder, "dist"), { recursive: true });
  const { metafile, outputFiles } = await build({
    entryPoints: [source],
    write: false,
    outfile: join(folder, PROGRAM),
    absWorkingDir: root, // so that the file is the same wherever the repository lies
    bundle: true,
    platform: "node",
    target: "node24",
    format: "esm",
    conditions: ["source"],
    banner: { js: BANNER },
    plugins: [loadAddonsFromHere],
    legalComments: "inline",
    // Node keeps the text in memory. Names stay, for the stacks in logs.
    minifyWhitespace: true,
    minifySyntax: true,
    logLevel: "warning",
    metafile: true,
  });
  for (const { path, text } of outputFiles) {
    // It is run by the Node beside it, not by the one that its first line names.
    writeFileSync(path, text.replace(/^#!.*\n/, ""));
  }
  const inputs = Object.keys(metafile.inputs);
  const platform = `linux-${process.arch}`;
  for (const { from, to } of beside(platform)) {
    const owner = `node_modules/${from.split("/", 1)[0] ?? ""}/`;
    if (!inputs.some((input) => input.startsWith(owner))) continue;
    cpSync(join(root, "node_modules", from), join(folder, to), { recursive: true });
  }
  const manifest = JSON.parse(readFileSync(join(dirname(source), "../package.json"), "utf8")) as { version: string };
  const told = { name, version: version ?? manifest.version, type: "module", license: "Apache-2.0" };
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(told, undefined, 2)}\n`);
}
