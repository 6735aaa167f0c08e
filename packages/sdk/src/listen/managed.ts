// The socket of a managed plugin (`docker plugin`): the file that config.json names, in the directory dockerd mounts.
import { join } from "node:path";
import { PluginError } from "../plugin-error.ts";
import type { Listener } from "./listener.ts";
import { unix } from "./unix.ts";

/** In the plugin's file system; on the host it is `/run/docker/plugins/<plugin id>`. */
const PLUGIN_DIRECTORY = "/run/docker/plugins";

/** @param socket the file name under `Interface.Socket` in config.json, without directory */
export function managed(socket: string, directory = PLUGIN_DIRECTORY): Listener {
  if (socket === "" || socket.includes("/")) {
    throw new PluginError(`managed socket name "${socket}" is not allowed`, {
      hint: 'Give the file name that stands under Interface.Socket in config.json, without "/".',
    });
  }
  return unix(join(directory, socket), { makeDirectory: true });
}
