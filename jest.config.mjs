// Tests run on the sources themselves: Node strips the types, so lines and columns in a failure are the real ones.
const common = {
  testEnvironment: "node",
  testEnvironmentOptions: { customExportConditions: ["source", "node"] },
  extensionsToTreatAsEsm: [".ts"],
  transform: { "\\.ts$": "<rootDir>/tools/strip-types.mjs" },
  // What packaging builds has copies of the packages.
  modulePathIgnorePatterns: ["/dist/", "<rootDir>/build/"],
};

export default {
  reporters: ["default", ...["outcome", "junit"].map((name) => `<rootDir>/tools/${name}-reporter.mjs`)],
  projects: [
    {
      ...common,
      displayName: "unit",
      testMatch: ["<rootDir>/packages/*/src/**/*.spec.ts", "<rootDir>/{tools,e2e}/**/*.spec.ts"],
    },
    { ...common, displayName: "netns", testMatch: ["<rootDir>/packages/*/src/**/*.netns.ts"] },
    { ...common, displayName: "e2e", testMatch: ["<rootDir>/e2e/suites/*.test.ts"] },
  ],
};
