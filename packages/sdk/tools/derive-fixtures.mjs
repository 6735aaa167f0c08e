#!/usr/bin/env node
// Boils recorded conversations between dockerd and a driver down to the fixtures beside this folder.
// Usage: node derive-fixtures.mjs FOLDER [OUT]   FOLDER holds <engine>-<scenario>.jsonl (see fixtures/README.md).
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const [folder, out = join(import.meta.dirname, "../fixtures")] = process.argv.slice(2);
if (!folder) {
  process.stderr.write("Usage: node derive-fixtures.mjs FOLDER [OUT]: which folder holds the recordings?\n");
  process.exit(2);
}

const ENGINES = ["20.10.24", "26.1.5", "28.5.2"];
/** Verbs that dockerd calls without a body; an empty body anywhere else is its retry after a dropped connection. */
const BODILESS = /^\/(Plugin\.Activate|.*\.GetCapabilities|.*\.GetDefaultAddressSpaces)$/;
const LONGEST_OUTPUT = 400;

/** What makes two bodies the same shape: everything except ids, and the addresses inside the container's own hands. */
const shapeOf = (body) =>
  JSON.stringify(body)
    .replaceAll(/"[0-9a-f]{64}"|"[0-9a-z]{25}"/g, '"ID"')
    .replaceAll(/netns\/[0-9a-f]{12}/g, "netns/ID");

/** Ids numbered in the order in which a scenario first mentions them: n1, n2 … and e1, e2 … */
function numbering(prefix) {
  const seen = new Map();
  return (id) => seen.get(id) ?? seen.set(id, `${prefix}${seen.size + 1}`).get(id);
}

function describe({ path, rawLength, request, status }, network, endpoint) {
  const words = [path.replace(/^.*\.(?!GetCapabilities)/, "").replace(/^\//, "")];
  if (!rawLength && !BODILESS.test(path)) words.push("(empty)");
  const body = request ?? {};
  if (body.NetworkID) words.push(network(body.NetworkID));
  if (body.EndpointID) words.push(endpoint(body.EndpointID));
  if (path.endsWith(".RequestPool")) words.push(body.Pool || (body.V6 ? "any6" : "any"));
  if (path.endsWith(".ReleasePool") && body.PoolID) words.push(body.PoolID);
  if (path.endsWith("Address")) words.push(body.Address || "any");
  if (body.Options?.RequestAddressType) words.push("gateway");
  if (status !== 200) words.push(`=${status}`);
  return words.join(" ");
}

/** The recordings' own scripts, said in words. */
function say(command) {
  return command
    .replace(/\S*\/host-stopd\.sh \S+ KILL/, "kill dockerd")
    .replace(/\S*\/host-stopd\.sh \S+/, "stop dockerd")
    .replace(/\S*\/host-dockerd\.sh \S+/, "start dockerd")
    .replace(/\S*\/plugin-up\.sh \S+/, "start plugin")
    .replace(/\S*\/plugin-down\.sh \S+/, "stop plugin")
    .replace(/docker -H \S+/, "docker")
    .trim();
}

function readScenario(file) {
  const steps = [];
  const requests = [];
  const network = numbering("n");
  const endpoint = numbering("e");
  let behaviour = {};
  let current = { do: "(before the first command)", calls: [] };
  for (const line of readFileSync(file, "utf8").split("\n").filter(Boolean)) {
    const entry = JSON.parse(line);
    if (entry.path) {
      requests.push({ verb: entry.path.slice(1), body: entry.request });
      current.calls.push(describe(entry, network, endpoint));
    } else if (entry.cmd) {
      steps.push((current = { do: say(entry.cmd), calls: [] }));
    } else if ("done" in entry) {
      if (say(entry.done) !== current.do) continue;
      current.rc = entry.rc;
      if (entry.rc !== 0) current.out = String(entry.out).slice(0, LONGEST_OUTPUT);
    } else if (entry.conf && JSON.stringify(entry.conf) !== JSON.stringify(behaviour)) {
      behaviour = entry.conf;
      steps.push({ driver: entry.conf });
    } else if (entry.variant) {
      steps.push({ variant: entry.variant });
    }
  }
  return { steps, requests };
}

/** A step says something when dockerd called, or when a docker command that could have made it call did not. */
const tells = (step) =>
  step.driver !== undefined ||
  step.variant !== undefined ||
  step.calls.length > 0 ||
  /^docker (create|run|start|stop|restart|rm|kill|pause|rename|network (create|rm|connect|disconnect|prune))\b/.test(
    step.do,
  ) ||
  /^(start|stop|kill) (dockerd|plugin)\b/.test(step.do);

mkdirSync(out, { recursive: true });
for (const engine of ENGINES) {
  const bodies = new Map();
  const scenarios = [];
  for (const name of readdirSync(folder).filter((file) => file.startsWith(`${engine}-`))) {
    const scenario = name.slice(engine.length + 1, -".jsonl".length);
    const { steps, requests } = readScenario(join(folder, name));
    for (const { verb, body } of requests) {
      const key = `${verb} ${shapeOf(body)}`;
      const known = bodies.get(key);
      if (known) known.seen += 1;
      else bodies.set(key, { verb, seen: 1, scenario, body });
    }
    for (const step of steps.filter(tells)) scenarios.push({ scenario, ...step });
  }
  const lines = (rows) => rows.map((row) => `${JSON.stringify(row)}\n`).join("");
  const byVerb = [...bodies.values()].sort((a, b) => (a.verb < b.verb ? -1 : a.verb > b.verb ? 1 : 0));
  writeFileSync(join(out, `requests-${engine}.jsonl`), lines(byVerb));
  writeFileSync(join(out, `calls-${engine}.jsonl`), lines(scenarios));
}
