// The settings that ts-overlay has beside those of every plugin.
import { address, integer, storeSettings } from "@portolan/sdk";

export const settings = {
  ...storeSettings,
  dnsAddress: {
    flag: "dns-address",
    value: "ADDRESS",
    type: address(4),
    default: "169.254.53.53",
    help: "Where this host answers names to containers of all its networks: daemon.json may name it once for all.",
  },
  vtep: {
    flag: "vtep",
    value: "ADDRESS",
    type: address(),
    defaultText: "that of the link with the default route",
    help: "The address of this host that others send its containers' packets to.",
  },
  wireguardPort: {
    flag: "wireguard-port",
    value: "PORT",
    type: integer(1024, 65534),
    default: 51820,
    help: "The UDP port of this host's tunnels for encrypted networks; it and the next one take turns.",
  },
} as const;
