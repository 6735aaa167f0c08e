// @portolan/state/testing: real etcd servers, and wires to them that can be cut.
export { EtcdMembers, Relays } from "./etcd-members.ts";
