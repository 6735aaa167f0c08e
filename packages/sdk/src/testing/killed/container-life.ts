// The life of a container and of its network, call by call, as dockerd goes through it.
import type { Lives, Living } from "./lives.ts";

/** A call, or what the driver does by itself at that time. */
export interface LifeCall<Host> {
  readonly name: string;
  readonly run: (host: Host) => Promise<unknown>;
  /** What dockerd does when it has the answer. */
  readonly then?: (host: Host) => Promise<void>;
  /** dockerd does that, too, when the call fails. */
  readonly goesOn?: true;
  /** The calls that follow in dockerd when this one fails; for those that take something away, as if it had not. */
  readonly onFailure: readonly string[];
}

/** What a host in the tests of a driver can do. Networks and containers are called by names. */
export interface LifeHost {
  readonly lives: Pick<Lives<Living>, "driver" | "aloneWithNetwork" | "aloneWithEndpoint">;
  leave(network: string, name: string): Promise<void>;
  deleteEndpoint(network: string, name: string): Promise<void>;
  deleteNetwork(name: string): Promise<void>;
  /** As dockerd does with the container's link after Join, and after Leave. */
  moveToSandbox(name: string): Promise<void>;
  moveHome(name: string): Promise<void>;
}

/** What differs from driver to driver: what is asked of the network `new` and of the container `cat`. */
export interface LifeWish<Host> {
  readonly createNetwork: (host: Host) => Promise<unknown>;
  readonly createEndpoint: (host: Host) => Promise<unknown>;
  readonly join: (host: Host) => Promise<unknown>;
  /** Left out: the network publishes no ports. */
  readonly publish?: (host: Host) => Promise<unknown>;
  readonly unpublish?: (host: Host) => Promise<unknown>;
  /** Whether the driver has something to do for a container that runs, at each look. */
  readonly looks?: boolean;
  /** Whether a network goes when another one gets its subnet: dockerd has forgotten it then. */
  readonly yields?: boolean;
}

/** All calls in their order, each with the locks that it has when it is served. */
export function containerLife<Host extends LifeHost>(wish: LifeWish<Host>): readonly LifeCall<Host>[] {
  const { createNetwork, createEndpoint, join, publish, unpublish, looks = false, yields = false } = wish;
  const network = (work: (host: Host) => Promise<unknown>) => (host: Host) =>
    host.lives.aloneWithNetwork("new", () => work(host));
  const endpoint = (work: (host: Host) => Promise<unknown>) => (host: Host) =>
    host.lives.aloneWithEndpoint("new", "cat", () => work(host));
  const whileItRuns = ["Leave", "DeleteEndpoint", "DeleteNetwork"];
  const maybe = (call: LifeCall<Host>, isThere: boolean) => (isThere ? [call] : []);
  return [
    // dockerd knows no such network when this fails. Where we died with the answer on our lips it is whole, and status shows it.
    { name: "CreateNetwork", run: network(createNetwork), onFailure: yields ? [] : ["DeleteNetwork"] },
    { name: "CreateEndpoint", run: endpoint(createEndpoint), onFailure: ["DeleteNetwork"] },
    {
      name: "Join",
      run: endpoint(join),
      then: (host) => host.moveToSandbox("cat"),
      onFailure: ["DeleteEndpoint", "DeleteNetwork"],
    },
    ...(publish ? [{ name: "ProgramExternalConnectivity", run: endpoint(publish), onFailure: whileItRuns }] : []),
    ...maybe(
      { name: "a look at the running container", run: (host) => host.lives.driver.look(), onFailure: whileItRuns },
      looks,
    ),
    ...(unpublish ? [{ name: "RevokeExternalConnectivity", run: endpoint(unpublish), onFailure: whileItRuns }] : []),
    {
      name: "Leave",
      run: endpoint((host) => host.leave("new", "cat")),
      then: (host) => host.moveHome("cat"),
      goesOn: true,
      onFailure: ["DeleteEndpoint", "DeleteNetwork"],
    },
    {
      name: "DeleteEndpoint",
      run: endpoint((host) => host.deleteEndpoint("new", "cat")),
      onFailure: ["DeleteNetwork"],
    },
    // dockerd keeps the network, for its user to try again.
    {
      name: "DeleteNetwork",
      run: network((host) => host.deleteNetwork("new")),
      onFailure: yields ? [] : ["DeleteNetwork"],
    },
  ];
}
