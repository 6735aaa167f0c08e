// Numbers of networks on the wire.
import { createHash } from "node:crypto";

export const LARGEST_VNI = (1 << 24) - 1;
/** Docker's swarm chooses from 4096 upward, so that far above no host has the number already. */
const LEAST = 1 << 20;

/**
 * What to try for a network that nobody chose a number for. It follows from the name, so that a cluster that lost its
 * store comes to the same numbers again.
 * @param attempt from 0 on, one more for each number that turned out to be taken
 */
export function candidateVni(network: string, attempt: number): number {
  const start = createHash("sha256").update(network).digest().readUInt32BE();
  return LEAST + ((start + attempt) % (LARGEST_VNI - LEAST + 1));
}
