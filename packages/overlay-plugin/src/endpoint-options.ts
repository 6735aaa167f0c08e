// The options of one container's endpoint: `docker run --network name=web,driver-opt=KEY=VALUE`, `docker network connect --driver-opt`.
import { option, optionTable, type OptionType } from "@portolan/sdk";

/** As a resolver compares them: in lower case. Underscores are no host's, but containers' names have them. */
export const HOST_NAME = /^(?=.{1,253}$)[a-z\d_]([a-z\d_-]{0,61}[a-z\d_])?(\.[a-z\d_]([a-z\d_-]{0,61}[a-z\d_])?)*$/;
/** All of them are in each of the endpoint's entries in the store. */
const MOST_NAMES = 16;

const names: OptionType<readonly string[]> = {
  allowed: `1 to ${MOST_NAMES} names of letters, digits, hyphens, underscores and dots between, separated by spaces or commas`,
  parse: (text) => {
    const given = new Set(text.toLowerCase().split(/[ ,]+/));
    return given.size <= MOST_NAMES && [...given].every((name) => HOST_NAME.test(name)) ? [...given] : undefined;
  },
};

/** One part of a name, since a resolver answers it. */
const service: OptionType<string> = {
  allowed: "a name of up to 63 letters, digits, hyphens and underscores",
  parse: (text) => {
    const name = text.toLowerCase();
    return HOST_NAME.test(name) && !name.includes(".") ? name : undefined;
  },
};

/** In a constant order, as in `8080:80/tcp`. */
const publish: OptionType<readonly string[]> = {
  allowed: "ports such as 8080:80 or 5353:53/udp, separated by spaces or commas",
  parse: (text) => {
    const ports = text.toLowerCase().split(/[ ,]+/).map(publishedPort);
    const numbers = new Set(ports.map((port) => port?.replace(/:\d+/, "")));
    return ports.includes(undefined) || numbers.size < ports.length ? undefined : (ports as string[]).toSorted();
  },
};

function publishedPort(text: string): string | undefined {
  const [, from = "", to = "", protocol = "tcp"] = /^(\d{1,5}):(\d{1,5})(?:\/(tcp|udp))?$/.exec(text) ?? [];
  const isPort = (port: string) => Number(port) >= 1 && Number(port) <= 65535;
  return isPort(from) && isPort(to) ? `${Number(from)}:${Number(to)}/${protocol}` : undefined;
}

export const endpointOptions = optionTable(
  {
    names: option({
      keys: ["portolan.name"],
      type: names,
      defaultText: "none",
      help: "By what all containers of the network find this one, on every host: its name, and further ones.",
    }),
    service: option({
      keys: ["portolan.service"],
      type: service,
      defaultText: "none",
      help: "The service that it is one of: connections to the service's address are spread over its containers on all hosts.",
    }),
    publish: option({
      keys: ["portolan.publish"],
      type: publish,
      defaultText: "what the service has",
      help: "Ports of every host that lead to the service.",
    }),
  },
  { ownPrefixes: ["portolan."] },
);
