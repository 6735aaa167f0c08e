// Where in a request a value stands, so that an error can name it: `IPv4Data[0].Pool`.

/** A request that is not what dockerd sends: the message begins with the JSON path of the offending value. */
export class DecodeError extends Error {
  override readonly name = "DecodeError";
}

/** One value's position in a request. Paths are only put together when an error needs one. */
export class Place {
  /** Fields that no decoder asked for, by path. Shared by all places of a request. */
  readonly unknownFields: Map<string, unknown>;
  readonly #parent: Place | undefined;
  readonly #step: string | number;

  private constructor(parent: Place | undefined, step: string | number) {
    this.unknownFields = parent?.unknownFields ?? new Map<string, unknown>();
    this.#parent = parent;
    this.#step = step;
  }

  /** The place of a whole request body. */
  static root(): Place {
    return new Place(undefined, "");
  }

  at(step: string | number): Place {
    return new Place(this, step);
  }

  get path(): string {
    if (this.#parent === undefined) return "";
    const parent = this.#parent.path;
    if (typeof this.#step === "number") return `${parent}[${this.#step}]`;
    if (!/^[A-Za-z_]\w*$/.test(this.#step)) return `${parent}[${JSON.stringify(this.#step)}]`;
    return parent === "" ? this.#step : `${parent}.${this.#step}`;
  }

  /** @param problem what is wrong with the value here, as in `expected a string, got a number` */
  refuse(problem: string): DecodeError {
    return new DecodeError(`${this.path === "" ? "request" : this.path}: ${problem}`);
  }
}
