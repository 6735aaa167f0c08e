// Tracked flows: the fake host has no traffic, so there is never one to forget, but each wish to do so is a step.
import type { Conntrack, Flows, LedFlows } from "../kernel.ts";
import type { FakeHost } from "./fake-host.ts";

export class FakeConntrack implements Conntrack {
  readonly #host: FakeHost;

  constructor(host: FakeHost) {
    this.#host = host;
  }

  async forget({ protocol, ports }: Flows): Promise<number> {
    if (ports.length === 0) return 0;
    await this.#host.enter("forget tracked flows");
    this.#host.step(`forget tracked flows to ${ports.join(", ")}/${protocol}`);
    return 0;
  }

  async forgetLed(flows: readonly LedFlows[]): Promise<number> {
    await this.#host.enter("forget tracked flows");
    for (const led of flows) {
      const where = "address" in led ? led.address : `${led.port}/${led.protocol}`;
      this.#host.step(`forget tracked flows to ${where} but for ${led.to.join(", ")}`);
    }
    return 0;
  }
}
