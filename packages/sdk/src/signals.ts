// Signals, for programs that want them handled; the library by itself installs no handler.
import type { PluginServer } from "./serve.ts";

const STOP = ["SIGTERM", "SIGINT"] as const;

/** The first SIGTERM or SIGINT from now on. A second one ends the process as if nobody listened. */
export function untilSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    const onSignal = (signal: NodeJS.Signals) => {
      for (const name of STOP) process.removeListener(name, onSignal);
      resolve(signal);
    };
    for (const name of STOP) process.on(name, onSignal);
  });
}

/** Closes the server at the first SIGTERM or SIGINT; resolves when it is closed. */
export async function closeOnSignals(server: Pick<PluginServer, "close">): Promise<void> {
  await untilSignal();
  await server.close();
}
