// Bring your own: connections of a server that someone else made and listens with.
import type { Server as NetServer } from "node:net";
import type { Listener } from "./listener.ts";

/** Serves the connections that `server` accepts. It stays its owner's: closing the plugin's server leaves it open. */
export function from(server: NetServer): Listener {
  return {
    open(http) {
      const pass = (socket: unknown) => http.emit("connection", socket);
      server.on("connection", pass);
      const address = server.address();
      return Promise.resolve({
        address:
          typeof address === "string"
            ? `unix://${address}`
            : `tcp://${address?.address ?? "?"}:${address?.port ?? "?"}`,
        release: () => {
          server.removeListener("connection", pass);
          return Promise.resolve();
        },
      });
    },
  };
}
