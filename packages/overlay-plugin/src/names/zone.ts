// What the resolver knows: names and addresses of a network's containers, on all hosts.

export interface Zone {
  /** Addresses of both families; undefined when the network has no such name. @param name in lower case, no dot at its end */
  addresses(network: string, name: string): readonly string[] | undefined;
  /** Names of an address, the one to tell first; empty when it belongs to nobody. @param address as ipaddr.js prints it */
  names(network: string, address: string): readonly string[];
}
