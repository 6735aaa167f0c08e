// Buries endpoints that dockerd has forgotten without a word to us: they look dead, and go on looking so for long enough.
import type { Logger } from "./logger.ts";
import type { EndpointId, NetworkId } from "./values.ts";

/** How often a driver compares its records with the kernel, and how long something has to look dead; in milliseconds. */
export interface Patience {
  /** Between the look at the start and the second one. */
  readonly secondLookMs: number;
  /** Between all further ones. */
  readonly lookMs: number;
  /** Of an endpoint whose link has gone, as it goes with a sandbox. */
  readonly missingMs: number;
  /**
   * Of an endpoint whose container's end is in the host's namespace: not moved yet, or moved back by a dockerd that could
   * not reach us. Before Docker 28 a container has long been joined when it starts.
   */
  readonly homeMs: number;
}

export const PATIENCE: Patience = { secondLookMs: 5_000, lookMs: 30_000, missingMs: 4_000, homeMs: 120_000 };

/** Why an endpoint looks dead: what it had is gone with its container, or no container has it. */
export type SignOfDeath = "missing" | "home";

/** An endpoint's record. */
export interface Buriable {
  readonly id: EndpointId;
  readonly network: NetworkId;
  /** Only what is `made` can die: the rest is being made or removed. */
  readonly progress: string;
}

export interface UndertakerParts<Endpoint extends Buriable> {
  readonly patience: Patience;
  readonly log: Logger;
  /** For the log: `its link has gone`. */
  readonly reasons: Readonly<Record<SignOfDeath, string>>;
  /** The record as it is now: another object after each change. */
  readonly find: (id: EndpointId) => Endpoint | undefined;
  /** Asked of the kernel at this moment. */
  readonly signOf: (endpoint: Endpoint) => Promise<SignOfDeath | undefined>;
  /** Does the work when no call for the endpoint is under way. */
  readonly alone: (endpoint: Endpoint, work: () => Promise<unknown>) => Promise<unknown>;
  readonly bury: (endpoint: Endpoint) => Promise<unknown>;
}

export class Undertaker<Endpoint extends Buriable> {
  readonly #parts: UndertakerParts<Endpoint>;
  /** As of the last look. */
  #suspicions: ReadonlyMap<EndpointId, { readonly sign: SignOfDeath; readonly since: number }> = new Map();

  constructor(parts: UndertakerParts<Endpoint>) {
    this.#parts = parts;
  }

  /**
   * Looks at all endpoints, one look after the other.
   * @param glance what may be a moment old: it makes a suspicion, and `signOf` has to agree before anything is buried
   */
  async look(
    endpoints: readonly Endpoint[],
    glance: (endpoint: Endpoint) => SignOfDeath | undefined | Promise<SignOfDeath | undefined>,
  ): Promise<void> {
    const { patience } = this.#parts;
    const now = performance.now();
    const before = this.#suspicions;
    const suspicions = new Map<EndpointId, { readonly sign: SignOfDeath; readonly since: number }>();
    this.#suspicions = suspicions;
    for (const endpoint of endpoints) {
      const { id, progress } = endpoint;
      const sign = progress === "made" ? await glance(endpoint) : undefined;
      if (sign === undefined) continue;
      const suspicion = before.get(id);
      const since = suspicion?.sign === sign ? suspicion.since : undefined;
      suspicions.set(id, { sign, since: since ?? now });
      // Never at the first look, which may fall between two steps of dockerd's.
      if (since === undefined || now - since < (sign === "missing" ? patience.missingMs : patience.homeMs)) continue;
      await this.#bury(endpoint, sign);
    }
  }

  async #bury(endpoint: Endpoint, sign: SignOfDeath): Promise<void> {
    const { log, reasons, find, signOf, alone, bury } = this.#parts;
    const { id, network } = endpoint;
    await alone(endpoint, async () => {
      // Whatever happened to it meanwhile has changed its record or its link.
      if (find(id) !== endpoint || (await signOf(endpoint)) !== sign) return;
      log.warn(`removing an endpoint that dockerd has forgotten: ${reasons[sign]}`, { network, endpoint: id });
      await bury(endpoint);
    });
  }
}
