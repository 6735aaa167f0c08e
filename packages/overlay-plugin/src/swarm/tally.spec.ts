// What is read out of Docker's own answers: the shapes are those of `GET /services` and `GET /tasks`, API 1.41 to 1.51.
import { tally, type DockerService, type DockerTask } from "./tally.ts";

const NET = "m2j5ukvxgbymlhffft0qmx9g2";
const OTHER = "ymmy36vpkes3mkx0144h932vw";

const OURS = new Set([NET, OTHER]);

const service = (id: string, name: string, ...vips: readonly (readonly [string, string])[]): DockerService => ({
  ID: id,
  Spec: { Name: name },
  Endpoint: { VirtualIPs: vips.map(([NetworkID, Addr]) => ({ NetworkID, Addr })) },
});
const task = (id: string, address: string, state = "running", desired = "running", network = NET): DockerTask => ({
  ServiceID: id,
  DesiredState: desired,
  Status: { State: state },
  NetworksAttachments: [{ Network: { ID: network }, Addresses: [address] }],
});
const entriesOf = (network: string, services: readonly DockerService[], tasks: readonly DockerTask[]) =>
  Object.fromEntries(tally(services, tasks, OURS).networks.get(network) ?? []);

it("a service's address leads to its tasks that run, in each of its networks", () => {
  const web = service("s1", "web", [NET, "10.78.0.2/24"], [OTHER, "10.79.0.2/24"]);
  const tasks = [task("s1", "10.78.0.5/24"), task("s1", "10.78.0.4/24"), task("s2", "10.78.0.9/24")];
  expect(entriesOf(NET, [web], tasks)).toEqual({
    s1: { name: "web", vips: ["10.78.0.2"], targets: ["10.78.0.4", "10.78.0.5"] },
  });
  expect(entriesOf(OTHER, [web], tasks)).toEqual({ s1: { name: "web", vips: ["10.79.0.2"], targets: [] } });
});

it("a task that starts, is to stop, or has failed is not sent to", () => {
  const tasks = [
    task("s1", "10.78.0.4/24", "starting"),
    task("s1", "10.78.0.5/24", "running", "shutdown"),
    task("s1", "10.78.0.6/24", "failed"),
    task("s1", "10.78.0.8/24", "ready", "ready"),
    task("s1", "10.78.0.7/24"),
  ];
  expect(entriesOf(NET, [service("s1", "web", [NET, "10.78.0.2/24"])], tasks).s1?.targets).toEqual(["10.78.0.7"]);
});

it("a service without a virtual address has no part in it: dnsrr, or one whose network is not allocated yet", () => {
  const rr: DockerService = { ID: "s1", Spec: { Name: "rr" }, Endpoint: {} };
  const none: DockerService = { ID: "s2", Spec: { Name: "new" }, Endpoint: { VirtualIPs: null } };
  const empty = service("s3", "empty", [NET, ""]);
  expect(tally([rr, none, empty], [task("s1", "10.78.0.4/24")], OURS).networks.size).toBe(0);
});

it.each([
  [true, "a task starts", [task("s1", "10.78.0.4/24", "preparing")], undefined],
  [true, "a task that failed is to be replaced", [task("s1", "10.78.0.4/24", "failed")], undefined],
  [true, "a task waits to take another one's place", [task("s1", "10.78.0.4/24", "ready", "ready")], undefined],
  [true, "a service is being updated", [task("s1", "10.78.0.4/24")], "updating"],
  [true, "an update is being taken back", [task("s1", "10.78.0.4/24")], "rollback_started"],
  [false, "an update is done", [task("s1", "10.78.0.4/24")], "completed"],
  [false, "nothing happens", [task("s1", "10.78.0.4/24")], undefined],
])("more is about to change: %s, when %s", (isMoving, _, tasks, State) => {
  const web = {
    ...service("s1", "web", [NET, "10.78.0.2/24"]),
    ...(State !== undefined && { UpdateStatus: { State } }),
  };
  expect(tally([web], tasks, OURS).moving.length > 0).toBe(isMoving);
});

it("what moves without an address in a network of ours is of no interest", () => {
  const tasks = [task("s1", "10.78.0.4/24", "pending"), task("s2", "10.78.0.5/24", "pending")];
  const services = [service("s1", "web", [OTHER, "10.79.0.2/24"]), service("s2", "none")];
  expect(tally(services, tasks, new Set([NET]))).toEqual({ networks: new Map(), moving: [] });
});

it("a task that is tried again and again takes the same steps each time, and one in another place others", () => {
  const web = service("s1", "web", [NET, "10.78.0.2/24"]);
  const moving = (Slot: number, state: string, address: string) =>
    tally([web], [{ ...task("s1", address, state), Slot }], OURS).moving;
  expect(moving(1, "starting", "10.78.0.4/24")).toEqual(moving(1, "starting", "10.78.0.5/24"));
  expect(moving(1, "starting", "10.78.0.4/24")).not.toEqual(moving(2, "starting", "10.78.0.4/24"));
  expect(moving(1, "starting", "10.78.0.4/24")).not.toEqual(moving(1, "preparing", "10.78.0.4/24"));
});
