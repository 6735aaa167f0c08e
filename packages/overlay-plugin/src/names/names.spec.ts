// Who hears what where: two hosts on kernels in memory, one cluster.
import { SharedMemory } from "@portolan/state";
import { TestHost } from "../testing/host.ts";

const [GATEWAY, GATEWAY6, LINK_LOCAL] = ["10.9.0.1", "fd00:9::1", "169.254.53.53"];
const ALL = [GATEWAY, LINK_LOCAL, GATEWAY6];

let one: TestHost;
let two: TestHost;
beforeEach(async () => {
  const memory = new SharedMemory();
  one = await TestHost.boot(memory, "one", 1);
  two = await TestHost.boot(memory, "two", 2);
  for (const host of [one, two]) await host.create("net", { "portolan.peer-timeout": "50ms" });
  await one.attach("net", "db", 5, { "portolan.name": "db,cache" });
  await two.attach("net", "asker", 6);
  await two.overlay.look();
});
afterEach(async () => {
  await one[Symbol.asyncDispose]();
  await two[Symbol.asyncDispose]();
});

const eventually = async (look: () => void) => {
  for (const end = Date.now() + 3000; ; await new Promise((resolve) => setTimeout(resolve, 5))) {
    try {
      look();
      return;
    } catch (error) {
      if (Date.now() > end) throw error;
    }
  }
};

describe("a container", () => {
  it("hears addresses and names of containers on other hosts, at each address of its network", async () => {
    expect(two.resolvers).toEqual(ALL);
    await eventually(() => {
      for (const server of ALL) expect(two.ask(server, "10.9.0.6", "db")).toEqual(["10.9.0.5"]);
    });
    expect(two.ask(GATEWAY6, "fd00:9::6", "cache", "AAAA")).toEqual(["fd00:9::5"]);
    expect(two.ask(GATEWAY, "10.9.0.6", "5.0.9.10.in-addr.arpa", "PTR")).toEqual(["cache", "db"]);
    expect(two.ask(GATEWAY, "10.9.0.6", "db.net")).toEqual(["10.9.0.5"]);
    expect(two.ask(GATEWAY, "10.9.0.6", "nobody")).toBe("forward");
  });

  it("hears several addresses where several containers have the name", async () => {
    await two.attach("net", "second", 7, { "portolan.name": "db" });
    await eventually(() => expect(two.ask(GATEWAY, "10.9.0.6", "db")).toEqual(["10.9.0.5", "10.9.0.7"]));
    await two.detach("net", "second");
    expect(two.ask(GATEWAY, "10.9.0.6", "db")).toEqual(["10.9.0.5"]);
  });

  it("hears no more of a host that is away for too long, and of it again when it is back", async () => {
    await eventually(() => expect(two.ask(GATEWAY, "10.9.0.6", "db")).toEqual(["10.9.0.5"]));
    one.wire.cut();
    await eventually(() => expect(two.ask(GATEWAY, "10.9.0.6", "db")).toBe("forward"));
    one.wire.mend();
    await eventually(() => expect(two.ask(GATEWAY, "10.9.0.6", "db")).toEqual(["10.9.0.5"]));
  });

  it("hears what is known while the store is away, and of its own host's even after a restart", async () => {
    await eventually(() => expect(two.ask(GATEWAY, "10.9.0.6", "db")).toEqual(["10.9.0.5"]));
    two.wire.cut();
    expect(two.ask(GATEWAY, "10.9.0.6", "db")).toEqual(["10.9.0.5"]);
    one.wire.cut();
    await one.restart();
    await one.attach("net", "local", 8).catch(() => undefined);
    expect(one.ask(GATEWAY, "10.9.0.5", "db")).toEqual(["10.9.0.5"]);
  });

  it("in several networks hears of all of them, and one in an internal network only of that", async () => {
    await two.create("inner", {}, true, 8);
    await two.attach("inner", "vault", 5, { "portolan.name": "vault" }, "vault", 8);
    expect(two.ask("10.8.0.1", "10.8.0.5", "vault")).toEqual(["10.8.0.5"]);
    expect(two.ask("10.8.0.1", "10.8.0.5", "db")).toBe("refused");
    expect(two.ask(LINK_LOCAL, "10.9.0.6", "vault")).toBe("forward");
    await two.attach("inner", "leg", 6, {}, "asker", 8);
    expect(two.ask(LINK_LOCAL, "10.9.0.6", "vault")).toEqual(["10.8.0.5"]);
    await eventually(() => expect(two.ask("10.8.0.1", "10.8.0.6", "db")).toEqual(["10.9.0.5"]));
    expect(two.ask("10.8.0.1", "10.8.0.6", "nobody")).toBe("forward");
  });
});

describe("somebody who is no container of the network", () => {
  it("is refused at its gateway, and at the link-local address hears of the world only", () => {
    expect(two.ask(GATEWAY, "172.17.0.2", "db")).toBe("refused");
    expect(two.ask(LINK_LOCAL, "172.17.0.2", "db")).toBe("forward");
    // An address of the network that no container of this host has.
    expect(two.ask(LINK_LOCAL, "10.9.0.99", "db")).toBe("refused");
  });
});

describe("the addresses where names are answered", () => {
  it("come with a network, and go with the last", async () => {
    await two.create("other", {}, false, 8);
    expect(two.resolvers).toEqual(["10.8.0.1", GATEWAY, LINK_LOCAL, "fd00:8::1", GATEWAY6]);
    await two.remove("net");
    expect(two.resolvers).toEqual(["10.8.0.1", LINK_LOCAL, "fd00:8::1"]);
    await two.remove("other");
    expect(two.resolvers).toEqual([]);
  });
});
