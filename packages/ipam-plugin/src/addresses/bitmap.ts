// Which addresses of a subnet are taken: a hierarchical bitmap, sparse, so that an IPv6 /64 costs as little as a /24.
import { BitmapPage, PAGE_BITS, PAGE_SIZE } from "./bitmap-page.ts";

const LOW_MASK = BigInt(PAGE_SIZE - 1);
const SHIFT = BigInt(PAGE_BITS);

/** Offsets from 0 without an upper end; every operation costs a few steps down one page, however many bits are set. */
export class Bitmap {
  readonly #pages = new Map<bigint, BitmapPage>();
  #count = 0;

  /** How many bits are set. */
  get count(): number {
    return this.#count;
  }

  has(offset: bigint): boolean {
    return this.#pages.get(offset >> SHIFT)?.has(low(offset)) ?? false;
  }

  /** False when it was set already. */
  set(offset: bigint): boolean {
    const high = offset >> SHIFT;
    let page = this.#pages.get(high);
    if (!page) this.#pages.set(high, (page = new BitmapPage()));
    if (!page.set(low(offset))) return false;
    this.#count += 1;
    return true;
  }

  /** False when it was not set. */
  clear(offset: bigint): boolean {
    const high = offset >> SHIFT;
    const page = this.#pages.get(high);
    if (!page?.clear(low(offset))) return false;
    if (page.count === 0) this.#pages.delete(high);
    this.#count -= 1;
    return true;
  }

  /** The lowest clear bit from `from` to `to`, both included; undefined when all are set. */
  firstClear(from: bigint, to: bigint): bigint | undefined {
    let at = from;
    while (at <= to) {
      const page = this.#pages.get(at >> SHIFT);
      const found = page ? page.firstClear(low(at)) : low(at);
      const start = (at >> SHIFT) << SHIFT;
      if (found !== undefined) {
        const offset = start + BigInt(found);
        return offset <= to ? offset : undefined;
      }
      at = start + BigInt(PAGE_SIZE);
    }
    return undefined;
  }
}

const low = (offset: bigint): number => Number(offset & LOW_MASK);
