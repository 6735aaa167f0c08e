// What a broken writer puts into the store, against a real nft: two services that claim one address, or one port, keep no other
// from being led.
import { openKernel, type Kernel } from "@portolan/kernel";
import { inOwnNamespace, makeNetns, shell, type Netns } from "@portolan/kernel/testing";
import { KeyedLocks, silentLogger, type EndpointId, type Logger, type NetworkId } from "@portolan/sdk";
import { MemoryDisk, openMemoryStore, SharedMemory, type Entry } from "@portolan/state";
import { portKey, serviceKey, vipKey, type ServiceEntry } from "../cluster/keys.ts";
import { bridgeName } from "../naming.ts";
import { Records, schema, type NetworkRecord } from "../records.ts";
import { eventually } from "../testing/eventually.ts";
import { meshTableOf } from "./mesh-ruleset.ts";
import { removeMesh } from "./mesh.ts";
import { tableOf } from "./ruleset.ts";
import { Services } from "./services.ts";

const ID = "ab".repeat(32) as NetworkId;
const NETWORK: NetworkRecord = {
  ...{ id: ID, progress: "made", name: "net", options: {}, vni: 77, port: 4789, mtu: 1450, internal: false },
  ...{ subnets: ["10.9.0.0/16", "fd00:9::/64"], gateways: ["10.9.0.1/16"], peerTimeout: 60_000 },
  serviceRanges: ["10.9.255.0/24"],
};
const [WEB, API, FREE] = ["10.9.255.7", "10.9.255.8", "10.9.255.9"];

const service = (name: string, vips: readonly string[], publish: readonly string[] = []) => ({
  key: serviceKey("net", name),
  value: { vips, publish, hosts: ["two"] } satisfies ServiceEntry,
});

inOwnNamespace("services that claim the same", () => {
  let kernel: Kernel;
  let box: Netns;
  let memory: SharedMemory;
  let services: Services;
  let warnings: string[];

  beforeEach(async () => {
    kernel = await openKernel();
    box = await makeNetns();
    await kernel.links.createBridge({ name: bridgeName(ID), up: true });
    const { store } = await openMemoryStore({ disk: new MemoryDisk(), schema });
    const records = await Records.load(store);
    await records.putNetwork(NETWORK);
    const id = "cd".repeat(32) as EndpointId;
    const addresses = ["10.9.0.5"];
    const mac = "02:00:00:00:09:05";
    await records.putEndpoint({ id, network: ID, progress: "made", addresses, mac, sandbox: box.path });
    memory = new SharedMemory();
    warnings = [];
    const note = (text: string) => void warnings.push(text);
    const log: Logger = { ...silentLogger, warn: note, error: note };
    services = new Services({
      ...{ kernel, records, log, host: "one", network: NETWORK, locks: new KeyedLocks(() => undefined) },
      ...{ store: memory.connect("etcd"), reaches: () => true, announce: () => Promise.resolve() },
      entry: () => undefined,
    });
    services.start();
  });
  afterEach(async () => {
    await services[Symbol.asyncDispose]();
    await removeMesh(kernel, NETWORK);
    await kernel.links.remove(bridgeName(ID));
    await box[Symbol.asyncDispose]();
    await kernel[Symbol.asyncDispose]();
  });

  async function tell(...entries: readonly { readonly key: string; readonly value: unknown }[]): Promise<void> {
    for (const entry of entries) memory.write(entry);
    services.replaced(entries.map((entry, revision): Entry => ({ ...entry, revision })));
    await settled();
  }
  async function change(key: string, value: unknown): Promise<void> {
    memory.write({ key, value });
    services.changed({ key, value, revision: 99 }, undefined);
    await settled();
  }
  async function settled(): Promise<void> {
    await services.balancer.settled();
    await services.mesh.settled();
  }

  /** Addresses, or ports, with the chain that each leads to. */
  const leadsIn = (text: string) =>
    Object.fromEntries(
      [...text.matchAll(/(\S+) : goto (\S+?)[,\s]/g)].map(([, what = "", chain = ""]) => [what, chain]),
    );
  const inside = async () => leadsIn(await box.run(`nft list map ${tableOf(ID)} services4`));
  const inside6 = async () => leadsIn(await box.run(`nft list map ${tableOf(ID)} services6`));
  const published = async () => leadsIn(await shell(`nft list map ${meshTableOf(ID)} leads`));

  it("leave an address to the one that the store says has it, and all others are led", async () => {
    await tell(service("web", [WEB]), service("aaa", [WEB, FREE]), service("api", [API]), {
      key: vipKey("net", WEB),
      value: { service: "web" },
    });
    expect(await inside()).toEqual({ [WEB]: "to-web", [API]: "to-api", [FREE]: "to-aaa" });
    expect(services.trouble).toBe(`the services aaa, web claim the address ${WEB}: it leads to web`);
    expect(services.addresses("aaa")).toEqual([FREE]);
    await change(service("new", []).key, service("new", ["10.9.255.10"]).value);
    expect(await inside()).toEqual({ [WEB]: "to-web", [API]: "to-api", [FREE]: "to-aaa", "10.9.255.10": "to-new" });
    expect(warnings).toEqual([`the services aaa, web claim the address ${WEB}: it leads to web`]);
    await change(service("aaa", []).key, undefined);
    expect(await inside()).toEqual({ [WEB]: "to-web", [API]: "to-api", "10.9.255.10": "to-new" });
    expect(services.trouble).toBeUndefined();
  });

  it("leave an address that the store says is nobody's to the first by name, and follow what it says later", async () => {
    await tell(service("web", [WEB]), service("aaa", [WEB]));
    expect(await inside()).toEqual({ [WEB]: "to-aaa" });
    await change(vipKey("net", WEB), { service: "web" });
    expect(await inside()).toEqual({ [WEB]: "to-web" });
    await change(vipKey("net", WEB), { service: "nobody" });
    expect(await inside()).toEqual({ [WEB]: "to-aaa" });
  });

  it("are told apart by addresses, however these are written", async () => {
    await tell(
      service("web", ["fd00:9::ff07", "FD00:9:0::FF07"]),
      service("xyz", ["fd00:9:0:0::ff07", "fd00:9::ff08"]),
    );
    expect(await inside6()).toEqual({ "fd00:9::ff07": "to-web", "fd00:9::ff08": "to-xyz" });
  });

  it("leave a port to the one that the store says has it, and all others are led", async () => {
    memory.write({ key: portKey("8080:80/tcp"), value: { network: "net", service: "web" } });
    await tell(
      service("web", [WEB], ["8080:80/tcp", "8080:81/tcp"]),
      service("aaa", [FREE], ["08080:90/tcp", "8081:90/tcp"]),
      service("api", [API], ["53:53/udp"]),
    );
    const led = { "8080": "tcp-8080", "8081": "tcp-8081", "53": "udp-53" };
    await eventually(async () => expect(await published()).toEqual(led));
    expect(services.mesh.state.ports).toEqual({ "8080/tcp": "web", "8081/tcp": "aaa", "53/udp": "api" });
    expect(services.trouble).toBe("the services aaa, web claim the port 8080/tcp: it leads to web");
    await change(service("api", []).key, undefined);
    expect(services.mesh.state.ports).toEqual({ "8080/tcp": "web", "8081/tcp": "aaa" });
    expect(warnings).toEqual(["the services aaa, web claim the port 8080/tcp: it leads to web"]);
  });
});
