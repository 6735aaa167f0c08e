// A plugin that is served on a socket of its own, for specs.
import { unix } from "../listen/unix.ts";
import { serve, type PluginServer, type ServeOptions } from "../serve.ts";
import { TemporaryDirectory } from "./temporary-directory.ts";

export interface Rig extends AsyncDisposable {
  readonly socket: string;
  readonly server: PluginServer;
}

/** A server on a socket of its own, ready unless told otherwise. */
export async function rig(options: Omit<ServeOptions, "listen">, ready = true): Promise<Rig> {
  await using stack = new AsyncDisposableStack();
  const directory = stack.use(await TemporaryDirectory.make());
  const socket = directory.file("plugin.sock");
  const server = await serve({ ...options, listen: unix(socket) });
  stack.defer(() => server.close({ drainMs: 0 }));
  if (ready) server.ready();
  const kept = stack.move();
  return { socket, server, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

/** An error as dockerd reads it. */
export const failure = (message: unknown) => ({ Err: message, Error: message });
