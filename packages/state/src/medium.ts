// The seam between the store's contract and what keeps the text: a medium knows no JSON, no schema and no hooks.

export interface TextChange {
  readonly collection: string;
  readonly key: string;
  /** undefined deletes. */
  readonly text: string | undefined;
}

export interface Medium extends AsyncDisposable {
  get(collection: string, key: string): Promise<string | undefined>;
  /** In the order of the keys' bytes. */
  list(collection: string): Promise<readonly (readonly [key: string, text: string])[]>;
  /**
   * All or nothing, in the order given, durable when the promise resolves; calls take effect in the order in which they came.
   * @param applied called in the turn in which the changes become durable
   * @returns how many records were written or removed
   */
  apply(changes: readonly TextChange[], applied?: () => void): Promise<number>;
}
