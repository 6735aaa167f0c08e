// Who has what several services claim.
import { settlePorts, settleServices } from "./clashes.ts";
import type { Service } from "./service.ts";
import { ServiceIndex } from "./service.ts";

const service = (name: string, ...vips: string[]): Service => ({ name, vips, targets: [], publish: [] });
const [ONE, TWO] = ["10.9.255.1", "10.9.255.2"];
const vipsOf = (services: readonly Service[]) => services.map(({ name, vips }) => [name, vips]);

it("leaves what nobody else claims as it is, whatever the store says of who has it", () => {
  const services = [service("api", ONE), service("web", TWO, "fd00::2")];
  const settled = settleServices(services, () => "api");
  expect(settled).toEqual({ kept: services, clashes: [] });
});

it("gives an address that several claim to whom the store names, or to the first, and once", () => {
  const services = [service("api", ONE, TWO), service("web", ONE, ONE)];
  const winners = (holder: string | undefined) => vipsOf(settleServices(services, () => holder).kept);
  const first = [
    ["api", [ONE, TWO]],
    ["web", []],
  ];
  expect(winners(undefined)).toEqual(first);
  expect(winners("stranger")).toEqual(first);
  expect(winners("web")).toEqual([
    ["api", [TWO]],
    ["web", [ONE]],
  ]);
});

it("leads one of a swarm's services that have one name, whichever the manager told of first", () => {
  const entries = [
    ["s1", { name: "web", vips: [ONE], targets: ["10.9.0.1"] }],
    ["s2", { name: "web", vips: [TWO], targets: ["10.9.0.2"] }],
  ] as const;
  for (const order of [entries, entries.toReversed()]) {
    const index = new ServiceIndex();
    for (const [id, entry] of order) index.setBalanced(id, entry);
    const { kept, clashes } = settleServices(
      index.balanced(() => true),
      () => undefined,
    );
    expect(kept).toMatchObject([{ name: "web", vips: [ONE], targets: ["10.9.0.1"] }]);
    expect(clashes).toEqual([{ what: "web", sentence: "2 services are called web: one of them is led" }]);
  }
});

it("gives a port to one service, and to the first of those inside its containers", () => {
  const ports = [
    { service: "api", hostPort: 80, to: 1 },
    { service: "web", hostPort: 80, to: 2 },
    { service: "web", hostPort: 80, to: 3 },
    { service: "web", hostPort: 81, to: 4 },
  ];
  const kept = (holder: string | undefined) =>
    settlePorts(
      ports,
      ({ hostPort }) => `${hostPort}/tcp`,
      () => holder,
    ).kept.map(({ to }) => to);
  expect(kept(undefined)).toEqual([1, 4]);
  expect(kept("web")).toEqual([2, 4]);
});
