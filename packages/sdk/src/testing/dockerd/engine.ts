// What differs between the engines on the wire; everything else in the fake daemon is common to all three.

export type EngineVersion = "20.10" | "26.1" | "28.5";

/** Each field says what this engine does; the source is what real engines were seen to send (../../fixtures). */
export interface Engine {
  readonly version: EngineVersion;
  /** The `Host` header. moby 30827: it was empty until a placeholder came with 24.0. */
  readonly host: string;
  readonly asksAddressSpaces: "at registration" | "once a network" | "before each pool";
  /** The container's namespace exists before Join, and the link is moved before ProgramExternalConnectivity. */
  readonly sandboxBeforeJoin: boolean;
  /** A second EndpointOperInfo for the joined endpoint, whose failure fails the start. */
  readonly infoAtJoin: boolean;
  /** docker_gwbridge answers EndpointOperInfo for every endpoint of its sandbox. */
  readonly gwbridgeAnswersInfo: boolean;
  /** No further endpoint is asked for ports once one has told some. */
  readonly infoStopsAtFirstPorts: boolean;
  readonly infoAtLiveRestore: boolean;
  readonly gwAllocCheck: boolean;
  /** IPv4 can be turned off, so CreateNetwork says whether it is on. */
  readonly ipv4Optional: boolean;
  /** An IPv6 pool can be chosen without `--subnet`. */
  readonly defaultIPv6Pools: boolean;
  /** One endpoint may be the IPv4 gateway and another the IPv6 gateway; `gw-priority` decides first. */
  readonly gatewayPerFamily: boolean;
  /** DeleteEndpoint follows a CreateEndpoint reply that cannot be parsed; Leave a Join reply that cannot be. */
  readonly undoesUnreadableReplies: boolean;
  /** Pools taken before a failing one of the same family are not given back (28.5, libnetwork/network.go:1549). */
  readonly leaksEarlierPools: boolean;
  /** How `docker run` begins its message when the network part failed. */
  readonly startFailure: string;
}

const OLDER = {
  sandboxBeforeJoin: false,
  infoAtJoin: true,
  gwbridgeAnswersInfo: true,
  infoStopsAtFirstPorts: true,
  infoAtLiveRestore: false,
  gwAllocCheck: false,
  ipv4Optional: false,
  defaultIPv6Pools: false,
  gatewayPerFamily: false,
  undoesUnreadableReplies: false,
  leaksEarlierPools: false,
  startFailure: "",
} as const;

export const ENGINES: Readonly<Record<EngineVersion, Engine>> = {
  "20.10": { ...OLDER, version: "20.10", host: "", asksAddressSpaces: "at registration" },
  "26.1": { ...OLDER, version: "26.1", host: "plugin.moby.localhost", asksAddressSpaces: "once a network" },
  "28.5": {
    version: "28.5",
    host: "plugin.moby.localhost",
    asksAddressSpaces: "before each pool",
    sandboxBeforeJoin: true,
    infoAtJoin: false,
    gwbridgeAnswersInfo: false,
    infoStopsAtFirstPorts: false,
    infoAtLiveRestore: true,
    gwAllocCheck: true,
    ipv4Optional: true,
    defaultIPv6Pools: true,
    gatewayPerFamily: true,
    undoesUnreadableReplies: true,
    leaksEarlierPools: true,
    startFailure: "failed to set up container networking: ",
  },
};
