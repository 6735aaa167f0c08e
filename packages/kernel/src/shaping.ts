// Limits to what a link sends and to what it receives.

export interface Rate {
  /** From 1 to 32e9, the most that the kernel's 32 bits of bytes per second hold. */
  readonly bitsPerSecond: number;
  /** Bytes that may pass at once after a pause. What is larger than this never passes, so a packet has to fit in. */
  readonly burst: number;
}

export interface Limits {
  readonly sent?: Rate;
  readonly received?: Rate;
}

export interface Shaping {
  /**
   * Lets through what the rates allow, and holds the rest back for at most a moment; then it is dropped, which is how senders
   * learn of it. Rates that were set before become these. They go with the link.
   *
   * What is received passes through a link of kind ifb, since the kernel holds back only what is being sent. It is made when it
   * is not there, and does not go with the limited link.
   * @param helper the ifb's name and alias
   * @throws KernelError ENODEV when there is no such link; EEXIST when another kind of link has the helper's name; ENOENT or
   * ENOTSUP, with the module's name, when this kernel lacks something
   */
  limit(link: string, limits: Limits, helper: { readonly name: string; readonly alias?: string }): Promise<void>;
  /** Whether all that the link receives passes through a helper: false, too, when somebody took the filter away, or the link. */
  isLed(link: string): Promise<boolean>;
}
