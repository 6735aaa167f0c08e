// The rules that hold for every IPAM driver, held against this one: repetitions, crashes at every step, whole engines.
import { conformanceIpam, type CrashPoints, type Host, type Life } from "@portolan/sdk/testing";
import { IpamHost } from "./testing/ipam-host.ts";

class ConformanceHost implements Host {
  #host: IpamHost | undefined;

  async start(points: CrashPoints): Promise<Life> {
    const host = this.#host ?? new IpamHost();
    this.#host = host;
    host.onCommit = (moment) => points.reach(`${moment} commit`);
    await host.restart();
    return { ipam: host.driver, close: () => host.settle(), kill: () => undefined };
  }

  inventory(): readonly string[] {
    return [...(this.#host?.disk.tables ?? [])].flatMap(([name, table]) =>
      [...table].map(([key, value]) => `${name} ${key}: ${value}`),
    );
  }
}

conformanceIpam("ts-ipam", () => new ConformanceHost());
