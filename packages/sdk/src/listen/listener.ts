// What a listener is to the server: something that makes an HTTP server reachable, and undoes that at close.
import type { Server } from "node:http";
import type { ServerOptions as TlsOptions } from "node:https";

export interface OpenListener {
  /** For people: `unix:///run/docker/plugins/ts-bridge.sock`, `tcp://127.0.0.1:4100`. */
  readonly address: string;
  /** Removes what was made beside the socket itself. Called once, before the server stops accepting. */
  readonly release: () => Promise<void>;
}

export interface Listener {
  /** Present for a listener that wants its connections encrypted. */
  readonly tls?: TlsOptions;
  readonly open: (server: Server) => Promise<OpenListener>;
}

/** Makes a server listen and waits until it does. */
export async function listening(server: Server, start: () => void): Promise<void> {
  const started = Promise.withResolvers<undefined>();
  const onListening = () => started.resolve(undefined);
  server.once("listening", onListening);
  server.once("error", started.reject);
  start();
  try {
    await started.promise;
  } finally {
    server.removeListener("listening", onListening);
    server.removeListener("error", started.reject);
  }
}
