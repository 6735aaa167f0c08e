// The verbs that a set of drivers serves, each with what answers it.
import { ipamVerbs } from "../wire/ipam-verbs.ts";
import { networkVerbs } from "../wire/network-verbs.ts";
import { pluginVerbs, type Drivers } from "../wire/plugin-verbs.ts";
import { isImplemented, type Verb, type VerbTable } from "../wire/verb.ts";
import { PluginError } from "../plugin-error.ts";
import { errorAnswer, ok, type Answer } from "./answer.ts";
import { VerbHandler, type HandlerParts } from "./verb-handler.ts";

/** @param body the request's body as text, empty when there is none */
export type Route = (body: string, isHeard: () => boolean) => Answer | Promise<Answer>;

/** Verb to route. Only the vocabularies of the drivers given are there. */
export function routesOf(drivers: Drivers, parts: HandlerParts): ReadonlyMap<string, Route> {
  if (drivers.network === undefined && drivers.ipam === undefined) {
    throw new PluginError("nothing to serve", { hint: "Give a network driver, an IPAM driver, or both." });
  }
  return new Map([
    ...routesOfTable(pluginVerbs, drivers, parts),
    ...(drivers.network === undefined ? [] : routesOfTable(networkVerbs, drivers.network, parts)),
    ...(drivers.ipam === undefined ? [] : routesOfTable(ipamVerbs, drivers.ipam, parts)),
  ]);
}

function routesOfTable<Driver>(table: VerbTable<Driver>, driver: Driver, parts: HandlerParts): [string, Route][] {
  return Object.entries(table).map(([name, verb]) => [name, routeOf(name, verb, driver, parts)]);
}

function routeOf<Driver>(name: string, verb: Verb<Driver>, driver: Driver, parts: HandlerParts): Route {
  if (verb.kind === "fixed") return fixedRoute(name, () => verb.answer(driver), parts);
  if (verb.whenMissing === "required" && !isImplemented(verb, driver)) {
    throw new PluginError(`the driver has no method ${verb.method}, which ${name} needs`);
  }
  const handler = new VerbHandler(name, verb, driver, parts);
  return (body, isHeard) => handler.handle(body, isHeard);
}

/** dockerd caches these answers for its lifetime, and registers no driver whose answer is an error. */
function fixedRoute(name: string, answer: () => Answer["body"], { metrics, logger, plugin }: HandlerParts): Route {
  return () => {
    const began = performance.now();
    metrics?.callBegan();
    let result: Answer;
    try {
      result = ok(answer());
    } catch (error) {
      const failure = PluginError.from(error, { op: name });
      logger.error(`${name} failed`, { verb: name, err: failure });
      result = errorAnswer(failure, 500, "error", plugin);
    }
    metrics?.callEnded(name, result.outcome, performance.now() - began);
    return result;
  };
}
