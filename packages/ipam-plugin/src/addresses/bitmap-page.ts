// One page of a bitmap: 2^30 bits in a tree of 32-bit words, six levels, of which only those in use exist.
import { present } from "./present.ts";

/** Each level takes five bits of the offset: 32 bits a word, 32 children a node. */
const LEVEL_BITS = 5;
const FANOUT = 32;
const LEVELS = 6;
export const PAGE_BITS = LEVEL_BITS * LEVELS;
export const PAGE_SIZE = 2 ** PAGE_BITS;
const ALL = -1;

interface Node {
  /** In a leaf: which bits are set. Above: which children have all their bits set. */
  full: number;
  /** How many children exist. Leaves have none. */
  used: number;
  readonly children: (Node | undefined)[];
}

const newNode = (): Node => ({ full: 0, used: 0, children: [] });

export class BitmapPage {
  readonly #root = newNode();
  #count = 0;

  get count(): number {
    return this.#count;
  }

  has(offset: number): boolean {
    let node: Node | undefined = this.#root;
    for (let level = LEVELS - 1; level > 0; level -= 1) {
      const digit = digitOf(offset, level);
      if (bit(node.full, digit)) return true;
      node = node.children[digit];
      if (!node) return false;
    }
    return bit(node.full, digitOf(offset, 0));
  }

  /** False when it was set already. */
  set(offset: number): boolean {
    if (this.has(offset)) return false;
    const path: Node[] = [];
    let node = this.#root;
    for (let level = LEVELS - 1; level > 0; level -= 1) {
      path.push(node);
      const digit = digitOf(offset, level);
      let child = node.children[digit];
      if (!child) {
        child = newNode();
        node.children[digit] = child;
        node.used += 1;
      }
      node = child;
    }
    node.full |= 1 << digitOf(offset, 0);
    for (let level = 1; node.full === ALL && level < LEVELS; level += 1) {
      node = present(path[LEVELS - 1 - level]);
      node.full |= 1 << digitOf(offset, level);
    }
    this.#count += 1;
    return true;
  }

  /** False when it was not set. */
  clear(offset: number): boolean {
    if (!this.has(offset)) return false;
    const path: Node[] = [];
    let node = this.#root;
    for (let level = LEVELS - 1; level > 0; level -= 1) {
      path.push(node);
      const digit = digitOf(offset, level);
      node.full &= ~(1 << digit);
      node = present(node.children[digit]);
    }
    node.full &= ~(1 << digitOf(offset, 0));
    // Words that became empty go, so that a subnet that was full once costs nothing afterwards.
    for (let level = 1; level < LEVELS && node.full === 0 && node.used === 0; level += 1) {
      node = present(path[LEVELS - 1 - level]);
      node.children[digitOf(offset, level)] = undefined;
      node.used -= 1;
    }
    this.#count -= 1;
    return true;
  }

  /** The lowest clear bit at `from` or above, undefined when there is none on this page. */
  firstClear(from: number): number | undefined {
    return search(this.#root, LEVELS - 1, from);
  }
}

/** @param from the lowest offset within this node that may be answered */
function search(node: Node, level: number, from: number): number | undefined {
  let digit = digitOf(from, level);
  if (level === 0) {
    const found = lowestClear(node.full, digit);
    return found === FANOUT ? undefined : found;
  }
  const step = 2 ** (level * LEVEL_BITS);
  let rest = from % step;
  while ((digit = lowestClear(node.full, digit)) < FANOUT) {
    if (digit !== digitOf(from, level)) rest = 0;
    const child = node.children[digit];
    const found = child ? search(child, level - 1, rest) : rest;
    if (found !== undefined) return digit * step + found;
    // Only the child that `from` lies in can have clear bits and still none to offer.
    digit += 1;
  }
  return undefined;
}

const digitOf = (offset: number, level: number): number => (offset >>> (level * LEVEL_BITS)) & (FANOUT - 1);

const bit = (word: number, index: number): boolean => ((word >>> index) & 1) === 1;

/** The lowest clear bit of a word at `from` or above; 32 when there is none. */
function lowestClear(word: number, from: number): number {
  if (from >= FANOUT) return FANOUT;
  const clear = ~word & (ALL << from);
  return clear === 0 ? FANOUT : 31 - Math.clz32(clear & -clear);
}
