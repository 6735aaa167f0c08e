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
   * All or nothing, in the order given, durable when the promise resolves.
   * @returns how many records were written or removed
   */
  apply(changes: readonly TextChange[]): Promise<number>;
}
