// The Docker versions that must pass, and the Debian release that each comes from.

export interface Engine {
  /** As users write it; the tree is refused when its dockerd tells another one. */
  readonly version: string;
  /** The Debian suite whose docker.io has this version. */
  readonly suite: string;
  /** The command line client came with docker.io up to bookworm and is a package of its own since. */
  readonly client: "in docker.io" | "docker-cli";
  /** Options for apt while the tree is made. */
  readonly aptOptions: readonly string[];
  /** Packages that its hosts have beside those of every host: other engines' trees stay as they are. */
  readonly packages?: readonly string[];
}

const engines: readonly Engine[] = [
  { version: "20.10.24", suite: "bookworm", client: "in docker.io", aptOptions: [] },
  { version: "26.1.5", suite: "trixie", client: "docker-cli", aptOptions: [] },
  {
    version: "28.5.2",
    suite: "forky",
    client: "docker-cli",
    // A testing suite's Release expires a week after it was signed, and a mirror may lag. The signature is still checked.
    aptOptions: ['Acquire::Check-Valid-Until "false"'],
  },
];

/** The engine whose version or suite begins with `word`, for command lines and PORTOLAN_E2E_ENGINES. */
export function engineCalled(word: string): Engine {
  const engine = engines.find(({ version, suite }) => word !== "" && (version.startsWith(word) || suite === word));
  if (engine) return engine;
  const known = engines.map(({ version, suite }) => `${version} (${suite})`).join(", ");
  throw new Error(`no engine is called ${JSON.stringify(word)}: choose one of ${known}`);
}

/** The engines of this run: all of them, or those that PORTOLAN_E2E_ENGINES names, separated by commas. */
export function chosenEngines(environment: NodeJS.ProcessEnv = process.env): readonly Engine[] {
  const words = environment.PORTOLAN_E2E_ENGINES;
  return words ? words.split(",").map((word) => engineCalled(word.trim())) : engines;
}
