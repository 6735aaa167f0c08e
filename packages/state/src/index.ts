// @portolan/state: what we promised, kept.
export { MemoryDisk, openMemoryStore, type OpenMemoryOptions } from "./memory-store.ts";
export { Mirror } from "./mirror.ts";
export { openStore, type OpenOptions } from "./open-store.ts";
export { removeStore } from "./remove-store.ts";
export { StateError, type StateErrorCode } from "./state-error.ts";
export {
  schemaNumber,
  type Change,
  type Collection,
  type CommitHook,
  type Migration,
  type Opened,
  type Schema,
  type Store,
} from "./store.ts";
