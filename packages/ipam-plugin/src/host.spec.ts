// What a host shows of the subnets that it uses.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Route } from "@portolan/kernel";
import { printPrefix } from "./addresses/ip.ts";
import { LinuxHost } from "./host.ts";

const routes = (...destinations: string[]) => ({
  list: (family: 4 | 6) =>
    Promise.resolve(
      destinations
        .filter((destination) => destination.includes(":") === (family === 6))
        .map((destination): Route => ({ destination, table: 254 })),
    ),
});

async function taken(host: LinuxHost, family: 4 | 6): Promise<string[]> {
  return (await host.taken(family)).map(printPrefix);
}

describe("the subnets that a host uses", () => {
  it("are those it has routes to, except for the routes that lead everywhere", async () => {
    const host = new LinuxHost(
      routes("0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "10.0.0.0/8", "::/0", "fd00:1::/64"),
      [],
    );
    const four = await taken(host, 4);
    expect(four).toContain("10.0.0.0/8");
    expect(four.some((subnet) => /\/[01]$/.test(subnet))).toBe(false);
    expect(await taken(host, 6)).toContain("fd00:1::/64");
  });

  it("are its resolvers, those behind systemd's stub among them", async () => {
    const folder = mkdtempSync(join(tmpdir(), "ts-ipam-host-"));
    const [stub, real] = [join(folder, "stub"), join(folder, "real")];
    writeFileSync(stub, "nameserver 127.0.0.53\noptions edns0\n");
    writeFileSync(real, "# nameserver 10.9.9.9\nnameserver 10.64.0.53\nnameserver fd00::53%eth0\n");
    const host = new LinuxHost(routes(), [stub, real, join(folder, "absent")]);
    expect(await taken(host, 4)).toEqual(expect.arrayContaining(["127.0.0.53/32", "10.64.0.53/32"]));
    expect(await taken(host, 4)).not.toContain("10.9.9.9/32");
    expect(await taken(host, 6)).toContain("fd00::53/128");
    rmSync(folder, { recursive: true });
  });

  it("are not disturbed by a resolv.conf that makes no sense", async () => {
    const folder = mkdtempSync(join(tmpdir(), "ts-ipam-host-"));
    writeFileSync(join(folder, "a"), "nameserver\nnameserver dns.example\nnameserver 10.1.1.1 # ours\n");
    expect(await taken(new LinuxHost(routes(), [join(folder, "a")]), 4)).toContain("10.1.1.1/32");
    rmSync(folder, { recursive: true });
  });
});
