// The host's own switch for forwarding packets between links, turned on as Docker turns it on.
import type { Sysctls } from "./kernel.ts";

const SWITCHES = {
  4: ["net/ipv4/ip_forward"],
  6: ["net/ipv6/conf/default/forwarding", "net/ipv6/conf/all/forwarding"],
};

/**
 * Called on requests only, when dockerd runs. At its start dockerd looks at ip_forward and sets FORWARD's policy to DROP
 * only if it was off: had we turned it on before, the host would forward for everyone.
 */
export async function ensureForwarding(
  sysctls: Sysctls,
  families: readonly (4 | 6)[],
  log: { warn(message: string): void },
): Promise<void> {
  for (const family of families) {
    for (const path of SWITCHES[family]) {
      if ((await sysctls.get(path)) !== "0") continue;
      await sysctls.set(path, "1");
      log.warn(`turned on ${path.replaceAll("/", ".")}: without it no packet leaves a network`);
    }
  }
}
