// The options of one container's endpoint: `docker run --network name=lan,driver-opt=KEY=VALUE`, `docker network connect --driver-opt`.
import type { DhcpWish } from "@portolan/kernel";
import { option, optionTable, PluginError, rateOptions, type OptionType, type OptionValues } from "@portolan/sdk";

const hostname: OptionType<string> = {
  allowed: "a host name: up to 253 letters, digits, hyphens, and dots between",
  parse: (text) => (text.length <= 253 && LABELS.test(text) ? text : undefined),
};
const LABELS = /^[a-z\d]([a-z\d-]{0,61}[a-z\d])?(\.[a-z\d]([a-z\d-]{0,61}[a-z\d])?)*$/i;

/** As hexadecimal, which is what goes out. RFC 2132, section 9.14: type 0 is for what is no hardware address. */
const clientId: OptionType<string> = {
  allowed: "a text of 1 to 254 bytes, or bytes in hexadecimal such as 01:02:42:0a:4d:00:09",
  parse: (text) => {
    if (/^[\da-f]{2}(:[\da-f]{2}){1,254}$/i.test(text)) return text.replaceAll(":", "").toLowerCase();
    const bytes = Buffer.from(text);
    return bytes.length >= 1 && bytes.length <= 254 ? `00${bytes.toString("hex")}` : undefined;
  },
};

const dhcpOptions = {
  hostname: option({
    keys: ["portolan.dhcp.hostname"],
    type: hostname,
    defaultText: "none",
    help: "The name that the DHCP server is told; many servers make it a name in their DNS.",
  }),
  clientId: option({
    keys: ["portolan.dhcp.client-id"],
    type: clientId,
    defaultText: "the MAC address",
    help: "By what the DHCP server knows the container: what it reserves for that, every new container with it gets.",
  }),
};

/** Of both drivers: what networks lack is refused endpoint by endpoint. */
export const endpointOptions = optionTable({ ...dhcpOptions, ...rateOptions }, { ownPrefixes: ["portolan."] });

type EndpointValues = OptionValues<typeof dhcpOptions & typeof rateOptions>;

/** @returns with `wish`, what a DHCP server is to be told, where one is asked @throws PluginError */
export function parseEndpointOptions(
  given: Readonly<Record<string, string>>,
  hasDhcp: boolean,
): { readonly values: EndpointValues; readonly wish?: DhcpWish } {
  const { values } = endpointOptions.parse(given);
  const { hostname: name, clientId: client } = values;
  if (hasDhcp)
    return {
      values,
      wish: { ...(name !== undefined && { hostname: name }), ...(client !== undefined && { clientId: client }) },
    };
  const [key] = Object.keys(given).filter((name) => name.startsWith("portolan.dhcp."));
  if (key === undefined) return { values };
  throw new PluginError(`option "${key}": the network's addresses do not come from a DHCP server`, {
    hint: "Leave it out, or create the network with -o portolan.dhcp=true --ipam-driver null.",
  });
}
