// The server: drivers behind the plugin protocol, on one or more listeners, until closed.
import { createServer, type RequestListener, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { Socket } from "node:net";
import type { Listener, OpenListener } from "./listen/listener.ts";
import { KeyedLocks } from "./locks.ts";
import { silentLogger, type Logger } from "./logger.ts";
import type { Metrics } from "./metrics.ts";
import { appFor } from "./server/app.ts";
import { Calls } from "./server/calls.ts";
import { Readiness } from "./server/readiness.ts";
import { routesOf } from "./server/routes.ts";
import type { Drivers } from "./wire/plugin-verbs.ts";

export interface ServeOptions extends Drivers {
  /** One listener or several, see `listen`. */
  readonly listen: Listener | readonly Listener[];
  /** The executable's name, which begins every error message that dockerd shows. */
  readonly name?: string;
  /** Default: nothing is logged. */
  readonly logger?: Logger;
  /** Default: nothing is counted. */
  readonly metrics?: Metrics;
  /** Locks to share with the driver's own background work. Default: locks of the server's own. */
  readonly locks?: KeyedLocks;
  /**
   * How long a call may take, in milliseconds, waiting included; then dockerd gets an error and the driver an aborted
   * signal. Default 20000: below the 30 s after which dockerd gives up on a managed plugin.
   */
  readonly deadlineMs?: number;
}

export interface PluginServer extends AsyncDisposable {
  /** Where it listens, for people. */
  readonly addresses: readonly string[];
  /** Why calls wait, or undefined when they do not. */
  readonly notReadyReason: string | undefined;
  /** Lets the waiting calls through. Until it is called only the handshake is answered. */
  ready(): void;
  /** Makes further calls wait again. */
  notReady(reason: string): void;
  /**
   * Stops accepting, lets running calls finish for `drainMs` (default 5000), tells the rest to stop, and ends every
   * connection. The drivers' kernel objects are none of its business: the data plane stays.
   */
  close(options?: { readonly drainMs?: number }): Promise<void>;
}

const DEFAULT_DEADLINE_MS = 20_000;
const DEFAULT_DRAIN_MS = 5_000;
/** How long calls that were told to stop may take to undo what they did. */
const UNDO_MS = 1_000;
/** dockerd's largest request, one with thousands of port bindings, stays far below. */
const BODY_LIMIT = 1024 * 1024;

/**
 * Serves drivers to dockerd.
 *
 * @returns when every listener accepts connections; call `ready()` once the driver's state is loaded
 * @throws PluginError when a listener cannot be opened; those opened before are closed again
 */
export async function serve(options: ServeOptions): Promise<PluginServer> {
  const { logger = silentLogger, metrics, name: plugin } = options;
  const readiness = new Readiness();
  const calls = new Calls(options.deadlineMs ?? DEFAULT_DEADLINE_MS);
  const locks = options.locks ?? new KeyedLocks((ms) => metrics?.lockWaited(ms));
  const routes = routesOf(options, { plugin, readiness, locks, calls, logger, metrics });
  let closing: Promise<void> | undefined;
  const app = appFor({ routes, logger, plugin, bodyLimit: BODY_LIMIT, isClosing: () => closing !== undefined });

  const listeners = "open" in options.listen ? [options.listen] : options.listen;
  const connections = new Set<Socket>();
  const opened: { readonly server: Server; readonly listener: OpenListener }[] = [];
  try {
    for (const listener of listeners) {
      const server = httpServer(listener, app as RequestListener);
      server.on("connection", (socket: Socket) => {
        connections.add(socket);
        socket.once("close", () => connections.delete(socket));
      });
      opened.push({ server, listener: await listener.open(server) });
    }
  } catch (error) {
    await shut(0);
    throw error;
  }

  async function shut(drainMs: number): Promise<void> {
    for (const { server, listener } of opened) {
      await listener.release();
      server.close();
    }
    if (!(await calls.rest(drainMs))) {
      calls.abortAll(new Error("the plugin is stopping"));
      if (!(await calls.rest(UNDO_MS))) logger.error(`${calls.inFlight} calls did not come to rest before the end`);
    }
    await answersSent();
    for (const socket of connections) socket.destroy();
  }

  const close: PluginServer["close"] = ({ drainMs = DEFAULT_DRAIN_MS } = {}) => (closing ??= shut(drainMs));

  return {
    addresses: opened.map(({ listener }) => listener.address),
    get notReadyReason() {
      return readiness.reason;
    },
    ready: () => readiness.open(),
    notReady: (reason) => readiness.close(reason),
    close,
    [Symbol.asyncDispose]: () => close(),
  };
}

function httpServer({ tls }: Listener, app: RequestListener): Server {
  // dockerd keeps connections for ever and repeats a call without its body when one closes under its hands, so the
  // server never closes an idle connection. dockerd 20.10 sends an empty Host header.
  const forEver = { keepAliveTimeout: 0, headersTimeout: 0, requestTimeout: 0, requireHostHeader: false };
  const server = tls === undefined ? createServer(forEver, app) : createTlsServer({ ...forEver, ...tls }, app);
  server.timeout = 0;
  return server;
}

/** Answers written in this turn of the event loop are in the kernel's hands in the next. */
function answersSent(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
