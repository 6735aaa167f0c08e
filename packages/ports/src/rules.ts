// The part of a driver's nftables table that leads published ports. `portElements` says what is in the sets and maps.

type Declaration = readonly [name: string, properties: string];

/**
 * By `typeof` always: at what a later libnftables makes of a `type`, the nft 1.0 of a host that has a managed plugin crashes.
 * Containers and themselves, for `HAIRPIN_RULES`.
 */
export const PORT_SETS: readonly Declaration[] = [
  ["hairpin4", "typeof ip saddr . ip daddr"],
  ["hairpin6", "typeof ip6 saddr . ip6 daddr"],
];

/** From where a published port is asked for to the container: at any address of this host, or at one. */
export const PORT_MAPS: readonly Declaration[] = [
  ["published4", "typeof meta l4proto . th dport : ip daddr . th dport"],
  ["published6", "typeof meta l4proto . th dport : ip6 daddr . th dport"],
  ["publishedAt4", "typeof ip daddr . meta l4proto . th dport : ip daddr . th dport"],
  ["publishedAt6", "typeof ip6 daddr . meta l4proto . th dport : ip6 daddr . th dport"],
];

/** Chains of their own. Whoever has them needs `route_localnet` on its bridges, and keeps containers out of 127.0.0.0/8. */
export const LEADING_CHAINS = `
  chain prerouting {
    type nat hook prerouting priority -100; policy accept;
    ip daddr 127.0.0.0/8 return comment "what is published on loopback is for this host alone"
    jump published
  }
  chain output {
    type nat hook output priority -100; policy accept;
    jump published
  }
  chain published {
    ip6 daddr { ::1, fe80::/10 } return comment "no reply would find back; a relay of the driver serves these"
    meta nfproto ipv4 fib daddr type local dnat ip to meta l4proto . th dport map @published4
    meta nfproto ipv6 fib daddr type local dnat ip6 to meta l4proto . th dport map @published6
    dnat ip to ip daddr . meta l4proto . th dport map @publishedAt4
    dnat ip6 to ip6 daddr . meta l4proto . th dport map @publishedAt6
  }`;

/** In a chain of type nat at postrouting. */
export const HAIRPIN_RULES = `
    ip saddr . ip daddr @hairpin4 masquerade comment "a container that asks for its own port, with br_netfilter"
    ip6 saddr . ip6 daddr @hairpin6 masquerade`;
