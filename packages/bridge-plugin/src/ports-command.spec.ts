// The table of published ports.
import { portsTable } from "@portolan/ports";
import { publishedIn } from "./ports-command.ts";
import { TestHost } from "./testing/host.ts";

test("shows each host address with the container's address of its family, in the order of ports", async () => {
  const host = await TestHost.boot();
  await host.createNetwork("net", { subnet6: "fd00:40::/64" });
  expect(portsTable(publishedIn(host.bridge.status()))).toBe("No ports are published.");
  await host.createEndpoint("net", "web", "10.40.0.2/24", "fd00:40::2/64");
  await host.publish("net", "web", ["8080:80", "53:53/udp"]);
  await host.createEndpoint("net", "old", "10.40.0.3/24");
  await host.publish("net", "old", ["127.0.0.1:443:8443", "[::1]:443:8443"]);
  expect(portsTable(publishedIn(host.bridge.status())).split("\n")).toEqual([
    "HOST               CONTAINER        NETWORK       ENDPOINT",
    "127.0.0.1:443/tcp  10.40.0.3:8443   6e6574000000  6f6c64ffffff",
    "[::1]:443/tcp      10.40.0.3:8443   6e6574000000  6f6c64ffffff",
    "0.0.0.0:8080/tcp   10.40.0.2:80     6e6574000000  776562ffffff",
    "[::]:8080/tcp      [fd00:40::2]:80  6e6574000000  776562ffffff",
    "0.0.0.0:53/udp     10.40.0.2:53     6e6574000000  776562ffffff",
    "[::]:53/udp        [fd00:40::2]:53  6e6574000000  776562ffffff",
  ]);
  await host.bridge[Symbol.asyncDispose]();
});
