// Which subnets of an address space are held: a binary radix tree, so that 10,000 of them cost no more than ten.
import type { Family } from "@portolan/sdk";
import { bitsOf, type Prefix } from "./ip.ts";
import { present } from "./present.ts";

interface Node<T> {
  zero: Node<T> | undefined;
  one: Node<T> | undefined;
  entry: { readonly prefix: Prefix; readonly value: T } | undefined;
  /** Prefix length of the largest subnet in here that is free; one more than the family's bits when there is none. */
  largestFree: number;
}

export interface Entry<T> {
  readonly prefix: Prefix;
  readonly value: T;
}

/** Subnets of one family that do not overlap one another. Every operation costs one walk along the bits of a prefix. */
export class PrefixTree<T> {
  readonly #bits: number;
  readonly #root: Node<T>;
  #count = 0;

  constructor(family: Family) {
    this.#bits = bitsOf(family);
    this.#root = newNode(0);
  }

  get count(): number {
    return this.#count;
  }

  /** @throws RangeError when it overlaps an entry: ask `overlapping` first */
  insert(prefix: Prefix, value: T): void {
    if (this.overlapping(prefix)) throw new RangeError("the subnet overlaps one that is held");
    const path = [this.#root];
    let node = this.#root;
    for (let depth = 0; depth < prefix.length; depth += 1) {
      const side = this.#side(prefix, depth);
      let child = node[side];
      if (!child) {
        child = newNode(depth + 1);
        node[side] = child;
      }
      node = child;
      path.push(node);
    }
    node.entry = { prefix, value };
    this.#count += 1;
    this.#recount(path);
  }

  /** False when exactly this subnet is not held. */
  remove(prefix: Prefix): boolean {
    const path = [this.#root];
    let node: Node<T> | undefined = this.#root;
    for (let depth = 0; depth < prefix.length; depth += 1) {
      node = node[this.#side(prefix, depth)];
      if (!node) return false;
      path.push(node);
    }
    if (!node.entry) return false;
    node.entry = undefined;
    this.#count -= 1;
    for (let depth = prefix.length; depth > 0; depth -= 1) {
      const { entry, zero, one } = present(path[depth]);
      if (entry || zero || one) break;
      present(path[depth - 1])[this.#side(prefix, depth - 1)] = undefined;
      path.pop();
    }
    this.#recount(path);
    return true;
  }

  /** An entry that shares addresses with `prefix`: the one around it, or else the lowest one inside. */
  overlapping(prefix: Prefix): Entry<T> | undefined {
    let node = this.#root;
    for (let depth = 0; depth < prefix.length; depth += 1) {
      if (node.entry) return node.entry;
      const child = node[this.#side(prefix, depth)];
      if (!child) return undefined;
      node = child;
    }
    return lowest(node);
  }

  /**
   * The lowest free subnet of the given prefix length inside `within`, at the address `from` or above it.
   * First fit, as Docker's own IPAM chooses.
   */
  firstFree(within: Prefix, length: number, from: bigint): Prefix | undefined {
    if (length < within.length) return undefined;
    let node: Node<T> | undefined = this.#root;
    for (let depth = 0; depth < within.length && node; depth += 1) {
      if (node.entry) return undefined;
      node = node[this.#side(within, depth)];
    }
    return this.#search(node, within, length, from);
  }

  /** @param node what is known of the subnet `at`; undefined when all of it is free */
  #search(node: Node<T> | undefined, at: Prefix, length: number, from: bigint): Prefix | undefined {
    const size = 1n << BigInt(this.#bits - at.length);
    if (at.first + size - 1n < from) return undefined;
    if (node && node.largestFree > length) return undefined;
    const free = !node || node.largestFree === at.length;
    if (free && at.first >= from) return { ...at, length };
    if (at.length === length) return undefined;
    const half = { ...at, length: at.length + 1 };
    return (
      this.#search(node?.zero, half, length, from) ??
      this.#search(node?.one, { ...half, first: at.first + size / 2n }, length, from)
    );
  }

  *[Symbol.iterator](): Generator<Entry<T>> {
    yield* walk(this.#root);
  }

  #side(prefix: Prefix, depth: number): "zero" | "one" {
    return (prefix.first >> BigInt(this.#bits - 1 - depth)) & 1n ? "one" : "zero";
  }

  #recount(path: readonly Node<T>[]): void {
    for (let depth = path.length - 1; depth >= 0; depth -= 1) {
      const node = present(path[depth]);
      if (node.entry) node.largestFree = this.#bits + 1;
      else if (!node.zero && !node.one) node.largestFree = depth;
      else node.largestFree = Math.min(node.zero?.largestFree ?? depth + 1, node.one?.largestFree ?? depth + 1);
    }
  }
}

function newNode<T>(depth: number): Node<T> {
  return { zero: undefined, one: undefined, entry: undefined, largestFree: depth };
}

function lowest<T>(node: Node<T>): Entry<T> | undefined {
  for (let at: Node<T> | undefined = node; at; at = at.zero ?? at.one) if (at.entry) return at.entry;
  return undefined;
}

function* walk<T>(node: Node<T> | undefined): Generator<Entry<T>> {
  if (!node) return;
  if (node.entry) yield node.entry;
  yield* walk(node.zero);
  yield* walk(node.one);
}
