// What udhcpc's events mean, for values as servers send them.
import { readEvent } from "./event.ts";

describe("an event of udhcpc", () => {
  it("carries address, router, server and duration", () => {
    expect(readEvent("dhcp-event bound|10.0.0.9|24|10.0.0.1 10.0.0.2|10.0.0.3|3600|")).toEqual({
      name: "bound",
      lease: { address: "10.0.0.9/24", gateway: "10.0.0.1", routes: [], server: "10.0.0.3", seconds: 3600 },
    });
  });

  it("has no gateway where classless routes name none, whatever the router option says", () => {
    const event = readEvent("dhcp-event renew|10.0.0.9|24|10.0.0.1|10.0.0.3|60|10.9.0.0/16 10.0.0.7");
    expect(event?.lease).toEqual({
      address: "10.0.0.9/24",
      routes: [{ destination: "10.9.0.0/16", via: "10.0.0.7" }],
      server: "10.0.0.3",
      seconds: 60,
    });
  });

  it("tells a lease for ever from one with an end", () => {
    expect(readEvent("dhcp-event bound|10.0.0.9|24|||4294967295|")?.lease).toEqual({
      address: "10.0.0.9/24",
      routes: [],
    });
  });

  it("takes a server without a mask for one of single addresses", () => {
    expect(readEvent("dhcp-event bound|10.0.0.9||||60|")?.lease?.address).toBe("10.0.0.9/32");
  });

  it("may be without a lease", () => {
    expect(readEvent("dhcp-event deconfig||||||")).toEqual({ name: "deconfig" });
  });

  it("is not what udhcpc says itself", () => {
    expect(readEvent("udhcpc: sending discover")).toBeUndefined();
  });
});
