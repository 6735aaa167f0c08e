// @portolan/state: what we promised, kept.
export { MemoryDisk, openMemoryStore, type OpenMemoryOptions } from "./memory-store.ts";
export { Mirror } from "./mirror.ts";
export { openStore, type OpenOptions } from "./open-store.ts";
export { removeStore } from "./remove-store.ts";
export { follow, type Follower, type Following } from "./shared/follow.ts";
export { SharedMemory, Wire } from "./shared/shared-memory.ts";
export {
  StoreAway,
  type ChangedEntry,
  type Condition,
  type Entry,
  type Listing,
  type SharedStore,
  type Watcher,
  type Write,
} from "./shared/shared-store.ts";
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
