#!/usr/bin/env node
// ts-ipvlan: containers on the host's LAN behind the MAC address of its link.
import { main } from "./main.ts";
import { ipvlan } from "./options.ts";

await main(ipvlan);
