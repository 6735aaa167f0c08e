// Port bindings as dockerd sends them, from what a user types behind `docker run -p`.
import type { PortBinding } from "@portolan/sdk";

/** As in `80`, `8080:80/udp`, `8080-8083:80`, `127.0.0.1:8080:80`, `[::1]::80`. */
export function bindings(...texts: readonly string[]): readonly PortBinding[] {
  return texts.map((text) => {
    const match = /^(?:(\[[^\]]*\]|[\d.]+):(?=.*:))?(?:([\d-]*):)?(\d+)(?:\/(\w+))?$/.exec(text);
    if (!match) throw new Error(`"${text}" is no port binding that this test kit knows`);
    const [, address, range = "", containerPort, protocol = "tcp"] = match;
    const [first = 0, last = first] = range === "" ? [] : range.split("-").map(Number);
    return {
      protocol: protocol as PortBinding["protocol"],
      containerPort: Number(containerPort),
      ...(address !== undefined && { hostAddress: address.replace(/[[\]]/g, "") }),
      hostPort: first,
      hostPortEnd: last,
    };
  });
}
