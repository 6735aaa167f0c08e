// What a driver answers about networks and endpoints that dockerd knows and it does not.
import { PluginError } from "./plugin-error.ts";
import type { NetworkId } from "./values.ts";

export function unknownEndpoint(): PluginError {
  return new PluginError("there is no such endpoint", { hint: "Disconnect the container and connect it again." });
}

export function unknownNetwork(id: NetworkId): PluginError {
  return new PluginError(`the network ${id} is not known here`, {
    hint: "Docker knows it and this driver does not, as after a loss of its state directory. Remove it and create it again.",
  });
}
