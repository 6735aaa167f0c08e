// @portolan/state/testing: real etcd servers, certificates for them, and wires to them that can be cut.
export { Certificates } from "./certificates.ts";
export { EtcdMembers, Relays } from "./etcd-members.ts";
