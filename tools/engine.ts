// The host's Docker engine, as far as `make up` and `make down` need to know it.
import { get } from "./unix-http.ts";

const DEFAULT = "unix:///var/run/docker.sock";

export interface Engine {
  readonly version: string;
  /** Names of the networks that use one of these drivers, be it for addresses only. */
  networks(drivers: readonly string[]): Promise<readonly string[]>;
}

interface ListedNetwork {
  readonly Name: string;
  readonly Driver: string;
  readonly IPAM: { readonly Driver: string };
}

/** @returns the engine, or a sentence that says what is missing and how to get it */
export async function findEngine(): Promise<Engine | string> {
  const address = process.env.DOCKER_HOST ?? DEFAULT;
  const scheme = "unix://";
  if (!address.startsWith(scheme)) {
    return `DOCKER_HOST is ${address}: drivers serve the Docker engine of their own host only. Unset it, or give a ${scheme} address.`;
  }
  const socket = address.slice(scheme.length);
  const answer = await get(socket, "/version");
  if (answer?.status !== 200) {
    return `No Docker engine answers on ${socket}. Install one (Debian: apt-get install docker.io) or start it (systemctl start docker), then try again.`;
  }
  const { Version: version } = JSON.parse(answer.body) as { Version: string };
  return {
    version,
    async networks(drivers) {
      const list = await get(socket, "/networks");
      if (list?.status !== 200) throw new Error(`Docker did not list its networks: ${list?.body ?? "no answer"}`);
      const uses = ({ Driver, IPAM }: ListedNetwork) => [Driver, IPAM.Driver].some((name) => drivers.includes(name));
      return (JSON.parse(list.body) as ListedNetwork[]).filter(uses).map((network) => network.Name);
    },
  };
}

/** What a user of this version should be told first, if anything. */
export function warningFor(version: string): string | undefined {
  return version.startsWith("29.0.")
    ? `Docker ${version} crashes with any remote network driver (moby issue 51557). Use 28.5 or a later 29.`
    : undefined;
}
