// The settings that ts-overlay has beside those of every plugin.
import { address, storeSettings } from "@portolan/sdk";

export const settings = {
  ...storeSettings,
  vtep: {
    flag: "vtep",
    value: "ADDRESS",
    type: address(),
    defaultText: "that of the link with the default route",
    help: "The address of this host that others send its containers' packets to.",
  },
} as const;
