// One network with one container, from CreateNetwork to DeleteNetwork, as a list of calls to repeat, cut and interrupt.
import { Bodies, sampleEndpoint, sampleNetwork } from "./bodies.ts";
import type { NetworkConformanceOptions } from "./subject.ts";

/** One call in the life of a network. */
export interface Step {
  /** Without `NetworkDriver.`. */
  readonly method: string;
  readonly body: unknown;
  /** Whether a driver may lack it, and then answers 404. */
  readonly optional?: boolean;
  /** What dockerd does when this call fails: the steps that follow for this endpoint. For deletes it does nothing. */
  readonly onFailure: readonly Step[];
}

/** The calls of `docker network create`, `run`, `rm -f` and `network rm`, in order. */
export function networkLife(options: NetworkConformanceOptions, number = 1): readonly Step[] {
  const bodies = new Bodies(options);
  const network = sampleNetwork(number);
  const endpoint = sampleEndpoint(network, 2);
  const ids = bodies.endpoint(endpoint);
  const step = (method: string, body: unknown, onFailure: readonly Step[] = []): Step => ({ method, body, onFailure });
  const leave = step("Leave", ids);
  const deleteEndpoint = step("DeleteEndpoint", ids);
  const deleteNetwork = step("DeleteNetwork", bodies.deleteNetwork(network));
  return [
    step("CreateNetwork", bodies.createNetwork(network)),
    step("CreateEndpoint", bodies.createEndpoint(endpoint)),
    step("Join", bodies.join(endpoint), [deleteEndpoint]),
    { ...step("ProgramExternalConnectivity", bodies.program(endpoint), [leave, deleteEndpoint]), optional: true },
    step("EndpointOperInfo", ids),
    { ...step("RevokeExternalConnectivity", ids), optional: true },
    leave,
    deleteEndpoint,
    deleteNetwork,
  ];
}

/** Whether the step takes something away: dockerd goes on when it fails. */
export const isDelete = ({ method }: Step): boolean =>
  ["RevokeExternalConnectivity", "Leave", "DeleteEndpoint", "DeleteNetwork"].includes(method);
