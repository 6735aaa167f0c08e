// @portolan/state/etcd: the store that several hosts share, apart from the rest so that who needs none does not load its client.
export { EtcdStore, type EtcdSettings } from "./shared/etcd-store.ts";
