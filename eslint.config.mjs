// The house rules that a machine can check. The arrows between packages are those of docs/design/architecture.md.
import tseslint from "typescript-eslint";

const NETLINK = { group: ["netlink", "netlink/*", "koffi"], message: "Only packages/kernel talks to the kernel." };
const PROCESSES = {
  group: ["node:child_process", "child_process"],
  message: "No process is spawned on a request path; packages/kernel/src/process.ts is the one place that may.",
};
const not = (name, why) => ({ group: [name, `${name}/*`], message: why });
const ports = not("@portolan/ports", "Published ports are built on this, not the other way round.");
const plugins = ["bridge", "macvlan", "overlay", "ipam"].map((name) =>
  not(`@portolan/${name}-plugin`, "A plugin is used through its socket, never imported."),
);
const imports = (...patterns) => ({ "no-restricted-imports": ["error", { patterns }] });

export default tseslint.config(
  { ignores: ["**/dist/", "**/fixtures/", "coverage/", "reports/", "build/", "**/*.mjs"] },
  ...tseslint.configs.strictTypeChecked,
  ...tseslint.configs.stylisticTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      "no-console": "error",
      "max-lines": ["error", 450],
      eqeqeq: "error",
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true }],
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
      ...imports(NETLINK, PROCESSES),
    },
  },
  {
    files: ["packages/sdk/**"],
    rules: imports(
      NETLINK,
      PROCESSES,
      not("@portolan/kernel", "The SDK knows the protocol, not Linux."),
      not("@portolan/state", "The SDK knows the protocol, not where records are kept."),
      ports,
      ...plugins,
    ),
  },
  {
    files: ["packages/kernel/**", "packages/state/**"],
    rules: imports(
      PROCESSES,
      not("@portolan/sdk", "This package knows nothing of Docker's protocol."),
      ports,
      ...plugins,
    ),
  },
  {
    files: ["packages/state/**"],
    rules: imports(NETLINK, PROCESSES, not("@portolan/sdk", "No protocol here."), ports, ...plugins),
  },
  {
    files: ["packages/ports/**"],
    rules: imports(
      NETLINK,
      PROCESSES,
      not("@portolan/state", "Each driver has its own records, of which ports are a part."),
      ...plugins,
    ),
  },
  { files: ["packages/*-plugin/**"], rules: imports(NETLINK, PROCESSES, ...plugins) },
  {
    files: ["packages/kernel/src/process.ts", "tools/**", "**/*.spec.ts", "**/*.netns.ts", "e2e/**", "bench/**"],
    rules: { "no-restricted-imports": "off" },
  },
  {
    files: ["e2e/**", "bench/**"],
    rules: imports(
      ...["sdk", "kernel", "state", "ports"].map((name) => not(`@portolan/${name}`, "Tests use what a user has.")),
      ...plugins,
    ),
  },
  {
    files: ["**/*.spec.ts", "**/*.netns.ts", "**/*.test.ts"],
    rules: { "@typescript-eslint/no-non-null-assertion": "off", "max-lines": ["error", 600] },
  },
);
