// kill -9 at every step of a call, and whatever dockerd may do then: it calls again, or gives up and takes back.
import type { LifeCall, LifeHost } from "./container-life.ts";
import type { Lives, Living } from "./lives.ts";

export interface KilledHost extends LifeHost {
  readonly lives: Lives<Living>;
}

export interface KilledCallsParts<Host extends KilledHost> {
  /** The one of the test that runs. */
  readonly host: () => Host;
  /** In their order. */
  readonly life: readonly LifeCall<Host>[];
  /** Throws where something of the container is left; asked when all is due to be gone but its network. */
  readonly expectNoEndpoint: () => Promise<void>;
  /** Throws where something is left of container or network, where others have noticed, or where another gets not what they had. */
  readonly expectNothing: () => Promise<void>;
}

/** What is found has to be thrown by the two of `parts`; each method begins and ends with nothing of the container's life. */
export class KilledCalls<Host extends KilledHost> {
  readonly #parts: KilledCallsParts<Host>;

  constructor(parts: KilledCallsParts<Host>) {
    this.#parts = parts;
  }

  get names(): readonly string[] {
    return this.#parts.life.map(({ name }) => name);
  }

  /** The calls, and what dockerd does after each. */
  async make(names: readonly string[]): Promise<void> {
    for (const name of names) {
      const { run, then } = this.#call(name);
      await run(this.#host);
      await then?.(this.#host);
    }
  }

  /** All that come before a call. */
  before(name: string): readonly string[] {
    return this.names.slice(0, this.names.indexOf(name));
  }

  /** dockerd makes the call again, and all that follow. @returns how many steps it has */
  async repeat(name: string): Promise<number> {
    const lead = this.before(name);
    await this.make(lead);
    return this.#host.lives.atEveryStep(
      () => this.#call(name).run(this.#host),
      async (isThrough) => {
        await this.make(this.names.slice(lead.length));
        await this.#parts.expectNothing();
        if (!isThrough) await this.make(lead);
      },
    );
  }

  /**
   * dockerd makes the calls that follow a failure.
   * @param prepare what the driver is to do by itself at the same time
   */
  async giveUp(name: string, prepare: () => Promise<void>): Promise<number> {
    const { run, then, goesOn } = this.#call(name);
    const lead = async () => {
      await this.make(this.before(name));
      await prepare();
    };
    await lead();
    return this.#host.lives.atEveryStep(
      () => Promise.all([run(this.#host), this.#host.lives.driver.look()]),
      async (isThrough) => {
        if (goesOn) await then?.(this.#host);
        await this.#takeBack(name);
        if (!isThrough) await lead();
      },
    );
  }

  /** A step of the call fails, and it dies while it takes back what came before. @returns how many steps can fail */
  async undo(name: string): Promise<number> {
    const { lives } = this.#host;
    const { run } = this.#call(name);
    const lead = () => this.make(this.before(name));
    await lead();
    const round = { wasRefused: true };
    let failing = 0;
    for (; round.wasRefused; failing += 1) {
      const work = () => {
        lives.life.refuse(failing);
        round.wasRefused = false;
        return run(this.#host).catch((error: unknown) => {
          if (!lives.life.hasRefused) throw error;
        });
      };
      const then = async (isThrough: boolean) => {
        round.wasRefused ||= lives.before.hasRefused;
        await this.#takeBack(name);
        if (!isThrough || round.wasRefused) await lead();
      };
      await lives.atEveryStep(work, then, failing + 1);
    }
    return failing - 1;
  }

  async #takeBack(failed: string): Promise<void> {
    for (const name of this.#call(failed).onFailure) {
      // Before the network's end would take it along.
      if (name === this.names.at(-1)) await this.#parts.expectNoEndpoint();
      await this.make([name]);
    }
    await this.#parts.expectNothing();
  }

  get #host(): Host {
    return this.#parts.host();
  }

  #call(wanted: string): LifeCall<Host> {
    const call = this.#parts.life.find(({ name }) => name === wanted);
    if (!call) throw new Error(`"${wanted}" is none of ${this.names.join(", ")}`);
    return call;
  }
}
