// The rules for a managed plugin's config.json. dockerd checks next to nothing at `docker plugin create`; what is wrong shows
// only when a user enables or sets it (moby: api/types/plugin.go, daemon/pkg/plugin/v2/settable.go and plugin_linux.go).

type Fields = Readonly<Record<string, unknown>>;
type Problems = string[];

/** What a setting of each kind may offer to `docker plugin set`. */
const SETTABLE = { env: ["value"], mounts: ["source"], devices: ["path"], args: ["value"] } as const;

const KEYS = {
  "": [
    ...["description", "documentation", "entrypoint", "workdir", "interface", "network", "pidhost", "ipchost"],
    ...["linux", "mounts", "propagatedMount", "env", "args", "user"],
  ],
  interface: ["types", "socket", "protocolScheme"],
  network: ["type"],
  linux: ["capabilities", "allowAllDevices", "devices"],
  mounts: ["name", "description", "source", "destination", "type", "options", "settable"],
  devices: ["name", "description", "path", "settable"],
  env: ["name", "description", "value", "settable"],
  args: ["name", "description", "value", "settable"],
} as const;

const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isText = (value: unknown): value is string => typeof value === "string" && value !== "";
const isTexts = (value: unknown): value is readonly string[] =>
  Array.isArray(value) && value.every((each) => typeof each === "string");
const isPath = (value: unknown): value is string =>
  isText(value) && /^(\/[^/]+)+$/.test(value) && !value.includes("..");

/** @returns a sentence for everything that dockerd would refuse, ignore or fail on; empty for a good one */
export function problemsOf(config: unknown): readonly string[] {
  if (!isFields(config)) return ["it is no object"];
  const problems: Problems = [];
  const check = (holds: boolean, problem: string): void => {
    if (!holds) problems.push(problem);
  };
  checkKeys(config, "", "the file", check);
  check(isText(config.description), "description is missing: docker plugin ls shows it");
  check(isTexts(config.entrypoint) && isPath(config.entrypoint[0]), "entrypoint has to begin with an absolute path");
  check(isPath(config.workdir) || config.workdir === "/", "workdir has to be an absolute path");
  for (const key of ["pidhost", "ipchost"]) check(typeof config[key] === "boolean", `${key} has to be true or false`);
  check(isPath(config.propagatedMount), "propagatedMount has to be an absolute path other than /");
  checkInterface(fieldsOf(config.interface), check);
  const network = fieldsOf(config.network);
  checkKeys(network, "network", "network", check);
  check(network.type === "host", "network.type has to be host: the links are made where dockerd looks for them");
  checkLinux(fieldsOf(config.linux), check);
  checkList(config, "mounts", check, checkMount);
  checkList(config, "env", check, ({ name, value }, place) => {
    check(isText(name) && /^[A-Z][A-Z0-9_]*$/.test(name), `${place}: the name is not one of an environment variable`);
    check(value === null || typeof value === "string", `${place}: the value has to be text or null`);
  });
  const args = fieldsOf(config.args);
  checkKeys(args, "args", "args", check);
  checkSettable(args, "args", "args", check);
  check(isTexts(args.value), "args.value has to be a list of words");
  check(
    !JSON.stringify(config).includes("docker.sock"),
    "docker.sock has no place in it: dockerd waits for the plugin",
  );
  return problems;
}

type Check = (holds: boolean, problem: string) => void;

const fieldsOf = (value: unknown): Fields => (isFields(value) ? value : {});

/** Go reads keys whatever their case; one that it does not know it drops without a word. */
function checkKeys(fields: Fields, kind: keyof typeof KEYS, place: string, check: Check): void {
  const known = KEYS[kind].map((key) => key.toLowerCase());
  for (const key of Object.keys(fields)) check(known.includes(key.toLowerCase()), `${place}: dockerd has no "${key}"`);
}

function checkInterface(fields: Fields, check: Check): void {
  checkKeys(fields, "interface", "interface", check);
  const types = ["docker.networkdriver/1.0", "docker.ipamdriver/1.0"];
  const given = isTexts(fields.types) ? fields.types : [];
  check(given.length > 0 && given.every((type) => types.includes(type)), `interface.types are ${types.join(" and ")}`);
  check(isText(fields.socket) && !fields.socket.includes("/"), "interface.socket has to be a file name");
  check([undefined, ""].includes(fields.protocolScheme as undefined), "interface.protocolScheme has to be left out");
}

function checkLinux(fields: Fields, check: Check): void {
  checkKeys(fields, "linux", "linux", check);
  const capabilities = isTexts(fields.capabilities) ? fields.capabilities : undefined;
  check(capabilities !== undefined, "linux.capabilities has to be a list");
  for (const name of capabilities ?? []) {
    check(/^CAP_[A-Z_]+$/.test(name), `linux.capabilities: ${name} is not written as in capabilities(7)`);
    check(!GIVEN.has(name), `linux.capabilities: every plugin has ${name} anyway`);
  }
  check(fields.allowAllDevices === false, "linux.allowAllDevices has to be false");
  if (fields.devices !== null) checkList(fields, "devices", check, () => undefined);
}

/** What dockerd gives to every container and plugin (moby: oci/caps/defaults.go). */
const GIVEN = new Set(
  "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE"
    .split(" ")
    .map((name) => `CAP_${name}`),
);

function checkMount({ source, destination, type, options }: Fields, place: string, check: Check): void {
  check(type === "bind" && isTexts(options), `${place}: only bind mounts with options are of use`);
  check(isPath(source), `${place}: the source has to be an absolute path, and to exist when the plugin is enabled`);
  const forbidden = /^\/(proc|sys)(\/|$)/;
  check(isPath(destination) && !forbidden.test(destination), `${place}: runc mounts nothing on ${String(destination)}`);
}

function checkList(
  fields: Fields,
  kind: "env" | "mounts" | "devices",
  check: Check,
  more: (entry: Fields, place: string, check: Check) => void,
): void {
  const list: unknown = fields[kind];
  check(Array.isArray(list), `${kind} has to be a list`);
  const names = new Set<unknown>();
  for (const each of Array.isArray(list) ? (list as unknown[]) : []) {
    const entry = fieldsOf(each);
    const place = `${kind} ${String(entry.name)}`;
    checkKeys(entry, kind, place, check);
    check(isText(entry.name) && !names.has(entry.name), `${place}: every one needs a name of its own`);
    check(isText(entry.description), `${place}: the description is missing`);
    names.add(entry.name);
    checkSettable(entry, kind, place, check);
    more(entry, place, check);
  }
}

function checkSettable({ settable }: Fields, kind: keyof typeof SETTABLE, place: string, check: Check): void {
  const allowed: readonly string[] = SETTABLE[kind];
  const given = settable === null ? [] : settable;
  check(
    isTexts(given) && given.every((word) => allowed.includes(word)),
    `${place}: settable is ${allowed.join()} or null`,
  );
}
