// The settings that ts-overlay has beside those of every plugin.
import { address, boolean, integer, oneOf, path, storeSettings } from "@portolan/sdk";

export const settings = {
  ...storeSettings,
  scope: {
    flag: "scope",
    value: "SCOPE",
    type: oneOf("local", "global"),
    default: "local",
    help: "global: networks are a swarm's, as a managed plugin; without --store they flood and learn. local: this host's own.",
  },
  dnsAddress: {
    flag: "dns-address",
    value: "ADDRESS",
    type: address(4),
    default: "169.254.53.53",
    help: "Where this host answers names to containers of all its networks: daemon.json may name it once for all.",
  },
  hostDns: {
    flag: "host-dns",
    type: boolean,
    default: false,
    help: "Also answers names at 127.0.53.53, for this host's /etc/resolv.conf: to whatever asks by way of the host.",
  },
  dockerSocket: {
    flag: "docker-socket",
    value: "PATH",
    type: path,
    defaultText: "none: containers have the names of their options only",
    help: "Docker's own socket, by which containers' names and aliases are learned.",
  },
  vtep: {
    flag: "vtep",
    value: "ADDRESS",
    type: address(),
    defaultText: "that of the link with the default route; in a swarm without --store the swarm's own for data",
    help: "The address of this host that others send its containers' packets to.",
  },
  fastPath: {
    flag: "fast-path",
    value: "WHETHER",
    type: oneOf("on", "off"),
    default: "on",
    help: "Whether frames between hosts pass the bridge by, and with it the host's firewall; off: all are bridged.",
  },
  wireguardPort: {
    flag: "wireguard-port",
    value: "PORT",
    type: integer(1024, 65534),
    default: 51820,
    help: "The UDP port of this host's tunnels for encrypted networks; it and the next one take turns.",
  },
} as const;
