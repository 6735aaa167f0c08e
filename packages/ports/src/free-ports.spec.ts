// The next port when any will do.
import { FakeKernel } from "@portolan/kernel/testing";
import { FreePorts } from "./free-ports.ts";

const freePorts = (sysctls: Readonly<Record<string, string>>) => new FreePorts(new FakeKernel({ sysctls }).sysctls);

async function all(ports: FreePorts): Promise<number[]> {
  const found: number[] = [];
  for await (const port of ports.candidates()) found.push(port);
  return found;
}

it("goes through the kernel's range once, without what the administrator reserved", async () => {
  const ports = freePorts({
    "net/ipv4/ip_local_port_range": "40000\t40005",
    "net/ipv4/ip_local_reserved_ports": "80,40001-40002,40004",
  });
  expect(await all(ports)).toEqual([40000, 40003, 40005]);
});

it("goes on after the port that was taken last, and round", async () => {
  const ports = freePorts({ "net/ipv4/ip_local_port_range": "40000\t40003" });
  ports.taken(40001);
  expect(await all(ports)).toEqual([40002, 40003, 40000, 40001]);
  ports.taken(40003);
  expect(await all(ports)).toEqual([40000, 40001, 40002, 40003]);
});

it("takes Docker's range where the kernel does not tell", async () => {
  const found = await all(freePorts({ "net/ipv4/ip_local_port_range": "" }));
  expect([found[0], found.at(-1)]).toEqual([49153, 65535]);
});
