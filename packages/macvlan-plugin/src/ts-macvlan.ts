#!/usr/bin/env node
// ts-macvlan: containers on the host's LAN with MAC addresses of their own.
import { main } from "./main.ts";
import { macvlan } from "./options.ts";

await main(macvlan);
