// The recorded conversations of real engines, read from the fixtures beside the sources.
import { readFileSync } from "node:fs";
import type { EngineVersion } from "../dockerd/engine.ts";

/** A request body as one engine sent it, `seen` times in all recordings up to ids. */
export interface RecordedRequest {
  readonly verb: string;
  readonly seen: number;
  readonly scenario: string;
  /** Null when the request had no body. */
  readonly body: unknown;
}

/** What was done, and the calls that it cost. */
export interface RecordedCommand {
  readonly scenario: string;
  readonly do: string;
  readonly calls: readonly string[];
  readonly rc?: number;
  readonly out?: string;
}

/** From here on the recording's driver behaved like this. */
interface RecordedDriver {
  readonly scenario: string;
  readonly driver: Readonly<Record<string, unknown>>;
}

export type RecordedStep = RecordedCommand | RecordedDriver | { readonly scenario: string; readonly variant: string };

const FILES: Readonly<Record<EngineVersion, string>> = { "20.10": "20.10.24", "26.1": "26.1.5", "28.5": "28.5.2" };

function readLines<Row>(name: string): Row[] {
  const text = readFileSync(new URL(`../../../fixtures/${name}.jsonl`, import.meta.url), "utf8");
  return text
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Row);
}

export const recordedRequests = (engine: EngineVersion): RecordedRequest[] =>
  readLines<RecordedRequest>(`requests-${FILES[engine]}`);

export const recordedSteps = (engine: EngineVersion, scenario: string): RecordedStep[] =>
  readLines<RecordedStep>(`calls-${FILES[engine]}`).filter((step) => step.scenario === scenario);

/** Ids numbered in the order in which they are first mentioned: n1, n2 … and e1, e2 … */
export class Numbering {
  readonly #networks = new Map<string, string>();
  readonly #endpoints = new Map<string, string>();

  /** A call in the fixtures' words. */
  describe(verb: string, body: unknown, status: number | undefined): string {
    const said = (body ?? {}) as Readonly<Record<string, unknown>>;
    const text = (name: string): string => (typeof said[name] === "string" ? said[name] : "");
    const words = [verb.replace(/^.*\.(?!GetCapabilities)/, "")];
    if (said.NetworkID !== undefined) words.push(number(this.#networks, "n", text("NetworkID")));
    if (said.EndpointID !== undefined) words.push(number(this.#endpoints, "e", text("EndpointID")));
    if (verb.endsWith(".RequestPool")) words.push(text("Pool") || (said.V6 === true ? "any6" : "any"));
    if (verb.endsWith(".ReleasePool")) words.push(text("PoolID"));
    if (verb.endsWith("Address")) words.push(text("Address") || "any");
    const options = said.Options as Readonly<Record<string, unknown>> | null | undefined;
    if (options?.RequestAddressType !== undefined) words.push("gateway");
    if (status !== 200) words.push(`=${status ?? "no answer"}`);
    return words.join(" ");
  }
}

function number(known: Map<string, string>, prefix: string, id: string): string {
  const name = known.get(id) ?? `${prefix}${known.size + 1}`;
  known.set(id, name);
  return name;
}

/** A body with everything that chance decided taken out: ids, made-up MAC addresses, pools that happened to be free. */
export function withoutChance(body: unknown): string {
  return JSON.stringify(body, sortPorts)
    .replaceAll(/"[0-9a-f]{64}"/g, '"ID"')
    .replaceAll(/netns\/[0-9a-f]{12}/g, "netns/ID")
    .replaceAll(/"172\.(1[89]|2\d|3[01])\./g, '"172.N.')
    .replaceAll(/"fd7b:6ed5:[0-9a-f]+::/g, '"ULA::')
    .replaceAll(/(MacAddress|macaddress)":"([0-9a-f]{2}:){5}[0-9a-f]{2}"/g, '$1":"MAC"');
}

/** dockerd walks a Go map of ports, so that their order is random. */
function sortPorts(_key: string, value: unknown): unknown {
  const ports =
    Array.isArray(value) && value.some((item: unknown) => typeof item === "object" && item !== null && "Proto" in item);
  return ports ? value.map((item) => JSON.stringify(item)).toSorted() : value;
}
