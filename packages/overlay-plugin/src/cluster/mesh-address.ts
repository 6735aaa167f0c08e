// This host's own addresses in a network, to which answers to its published ports come back.
import { PluginError } from "@portolan/sdk";
import type { SharedStore } from "@portolan/state";
import { freeAddress } from "../services/ranges.ts";
import { asEndpoint, endpointKey, isAddress, vipKey, vipRoot, type VipEntry } from "./keys.ts";

/** Enough for as many hosts at the same instant. */
const ATTEMPTS = 1_000;

/** Whether an entry says that the address is the host's own. */
export const isOwnVip = (value: unknown, host: string) => (value as VipEntry | null | undefined)?.host === host;

/**
 * Those that the host has, or free ones of the ranges, one of each.
 * @throws PluginError when there is none left, StoreAway
 */
export async function claimAddresses(
  store: SharedStore,
  host: string,
  {
    name,
    serviceRanges = [],
    subnets,
  }: { name: string; serviceRanges?: readonly string[]; subnets: readonly string[] },
): Promise<readonly string[]> {
  const root = vipRoot(name);
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const { entries } = await store.list(root);
    const had = entries
      .filter(({ value }) => isOwnVip(value, host))
      .map(({ key }) => key.slice(root.length))
      .filter(isAddress);
    const taken = new Set(entries.map(({ key }) => key.slice(root.length)));
    const all = serviceRanges.map((range) => {
      const isSame = (other: string) => other.includes(":") === range.includes(":");
      const address = had.find(isSame) ?? freeAddress(range, subnets.find(isSame), `host ${host}`, taken);
      if (address !== undefined) return address;
      throw new PluginError(`all addresses of ${range} are had`, {
        hint: "Make a network with a larger portolan.service-range.",
      });
    });
    const fresh = all.filter((address) => !had.includes(address)).map((address) => vipKey(name, address));
    if (fresh.length === 0) return all;
    const value: VipEntry = { host };
    if (
      await store.transact(
        fresh.map((key) => ({ key, absent: true })),
        fresh.map((key) => ({ key, value })),
      )
    )
      return all;
  }
  throw new PluginError(`others kept taking addresses of ${name} in ${store.name}`);
}

/** With what the cluster was told of them. @throws StoreAway */
export async function releaseAddresses(store: SharedStore, host: string, network: string): Promise<void> {
  const root = vipRoot(network);
  for (const { key, value, revision } of (await store.list(root)).entries) {
    if (!isOwnVip(value, host)) continue;
    const told = endpointKey(network, key.slice(root.length));
    const isOwn = asEndpoint((await store.get(told))?.value)?.host === host;
    const gone = [key, ...(isOwn ? [told] : [])].map((each) => ({ key: each, value: undefined }));
    await store.transact([{ key, revision }], gone);
  }
}
