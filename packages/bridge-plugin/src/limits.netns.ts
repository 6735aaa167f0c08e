// Limits on the real kernel that others take away, one piece after the other: with the next look they are there again.
import { inOwnNamespace, shell } from "@portolan/kernel/testing";
import { limiterName, portName } from "./naming.ts";
import { endpointId } from "./testing/calls.ts";
import { RealHost } from "./testing/real-host.ts";

const PORT = portName(endpointId("web"));
const LIMITER = limiterName(endpointId("web"));

inOwnNamespace("limits of a container, on the real kernel", () => {
  let host: RealHost;
  beforeEach(async () => {
    host = await RealHost.boot();
  });
  afterEach(() => host[Symbol.asyncDispose]());

  async function pieces(): Promise<Readonly<Record<string, boolean>>> {
    const { links, shaping } = host.kernel;
    const isShaped = async (link: string) => (await links.get(link))?.isShaped === true;
    return { in: await isShaped(PORT), out: await isShaped(LIMITER), way: await shaping.isLed(PORT) };
  }

  it.each(["IPv4 and IPv6", "IPv6 alone"])("hold again after each piece was taken away, with %s", async (families) => {
    const options = { "portolan.rate.in": "10mbit", "portolan.rate.out": "20mbit" };
    await host.createNetwork("net", { subnet6: "fd00:40::/64", onlyIPv6: families === "IPv6 alone", options });
    await host.run("net", "web", ...(families === "IPv6 alone" ? [] : ["10.40.0.2/24"]), "fd00:40::2/64");
    const whole = { in: true, out: true, way: true };
    expect(await pieces()).toEqual(whole);
    for (const [harm, left] of [
      [`tc qdisc delete dev ${PORT} root`, { in: false, out: true, way: true }],
      [`tc qdisc delete dev ${PORT} ingress`, { in: true, out: true, way: false }],
      [`tc filter delete dev ${PORT} ingress`, { in: true, out: true, way: false }],
      [`tc qdisc delete dev ${LIMITER} root`, { in: true, out: false, way: true }],
      [`ip link delete ${LIMITER}`, { in: true, out: false, way: true }],
    ] as const) {
      await shell(harm);
      expect({ harm, ...(await pieces()) }).toEqual({ harm, ...left });
      await host.bridge.look();
      expect({ harm, ...(await pieces()) }).toEqual({ harm, ...whole });
    }
  });
});
