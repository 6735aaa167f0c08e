// @portolan/ports: what a container publishes on its host, for every driver that is its containers' gateway.
export { portElements, type PortElement } from "./elements.ts";
export { planPorts, type HostConditions, type PortsPlan, type PortWish } from "./plan.ts";
export { letHairpin, Ports, type PortsParts } from "./ports.ts";
export { isPortProtocol, type PortProtocol, type PortRecord, type PublishingEndpoint } from "./records.ts";
export { HAIRPIN_RULES, LEADING_CHAINS, PORT_MAPS, PORT_SETS } from "./rules.ts";
export { portsTable, type PublishedPorts } from "./table.ts";
