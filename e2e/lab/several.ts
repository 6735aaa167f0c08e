// How a suite of several hosts is written: steps that follow each other on hosts that stay up from the first to the last.
import { chosenEngines } from "./engines.ts";
import { Host } from "./host.ts";
import { Lab } from "./lab.ts";
import { describeWith, type Needs } from "./needs.ts";
import { patience } from "./patience.ts";
import { report } from "./report.ts";

export interface Steps {
  /** Adds a test. When it fails, the logs and the state of every host are kept. */
  readonly step: (sentence: string, body: () => Promise<void>, seconds?: number) => void;
  /** The host of that number, from 1. */
  readonly on: (number: number) => Host;
}

export interface HostsOptions {
  readonly needs: Needs & { readonly hosts: number };
  /** Once, before the first step; without, each host gets dockerd and the image. */
  readonly prepare?: (hosts: readonly Host[]) => Promise<void>;
}

/** Defines steps on hosts h1, h2, …, with the engines of this run in turn. */
export function onHosts(
  topic: string,
  { needs, prepare = startDocker }: HostsOptions,
  define: (_: Steps) => void,
): void {
  describeWith(needs, topic, () => {
    const hosts: Host[] = [];
    let lab: Lab | undefined;

    let failed: string | undefined;
    const watched = async (title: string, body: () => Promise<void>): Promise<void> => {
      if (failed !== undefined) throw new Error(`not tried, since this failed: ${failed}`);
      try {
        await body();
      } catch (error) {
        failed = title;
        const folders = await Promise.all(hosts.map((host) => report(host, title, error)));
        throw new Error(`logs and state of the hosts: ${folders.join(" ")}`, { cause: error });
      }
    };

    beforeAll(
      () =>
        watched("bringing the hosts up", async () => {
          lab = await Lab.open();
          const engines = chosenEngines();
          const inTurn = Array.from({ length: needs.hosts }, () => engines).flat();
          for (const [index, engine] of inTurn.slice(0, needs.hosts).entries()) {
            hosts.push(await Host.up(lab, { name: `h${index + 1}`, engine }));
          }
          await prepare(hosts);
        }),
      240_000 * patience,
    );

    afterAll(async () => {
      for (const host of hosts) await host[Symbol.asyncDispose]();
      await lab?.[Symbol.asyncDispose]();
    }, 60_000 * patience);

    define({
      step: (sentence, body, seconds = 120) => {
        test(sentence, () => watched(sentence, body), seconds * 1000 * patience);
      },
      on: (number) => {
        const host = hosts[number - 1];
        if (host === undefined) throw new Error(`there is no host ${number}: the suite has ${hosts.length}`);
        return host;
      },
    });
  });
}

async function startDocker(hosts: readonly Host[]): Promise<void> {
  for (const host of hosts) {
    await host.startDockerd();
    await host.loadImage();
  }
}
