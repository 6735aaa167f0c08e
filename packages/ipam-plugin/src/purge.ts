// `ts-ipam purge`: forgets every promise. Nothing of this driver is in the kernel, so its records are all there is.
import { join } from "node:path";
import type { Command } from "@portolan/sdk";
import { openStore, removeStore } from "@portolan/state";
import { schema } from "./records.ts";

export const purge: Command = {
  summary: "Removes the records of all pools and addresses. Docker must have no network of this driver left.",
  async run({ settings: { stateDir }, print }) {
    const path = join(stateDir, "state.db");
    const { store } = await openStore({ path, schema }); // refused while a driver serves it
    await store[Symbol.asyncDispose]();
    await removeStore(path);
    print(`Removed ${path}.`);
  },
};
