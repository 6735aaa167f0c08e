// The operator's socket, apart from the one that belongs to dockerd: GET /healthz, /status and /metrics, POST of actions.
import { createServer } from "node:http";
import express, { type NextFunction, type Request, type Response } from "express";
import { unix } from "./listen/unix.ts";
import type { Metrics } from "./metrics.ts";
import { PluginError } from "./plugin-error.ts";
import type { PluginServer } from "./serve.ts";

export interface AdminOptions {
  /** Absolute path of the socket; its directory is made when missing. */
  readonly path: string;
  /** The server whose readiness `/healthz` tells. */
  readonly server: Pick<PluginServer, "notReadyReason">;
  readonly metrics?: Metrics;
  /** What `/status` answers, as JSON. */
  readonly status: () => unknown;
  /** What else the executable's commands ask of the running driver: `POST /<name>` with a JSON body, answered in JSON. */
  readonly actions?: Readonly<Record<string, AdminAction>>;
}

/** @throws PluginError for what the user should read */
export type AdminAction = (body: unknown) => unknown;

export interface AdminServer extends AsyncDisposable {
  readonly address: string;
}

/**
 * Serves until disposed. `/healthz` is 200 when calls are served and 503 with the reason when they wait.
 *
 * @throws PluginError when the socket cannot be opened
 */
export async function serveAdmin({ path, server, metrics, status, actions = {} }: AdminOptions): Promise<AdminServer> {
  const app = express();
  app.disable("x-powered-by");
  app.set("json spaces", 2);

  app.get("/healthz", (_request, response) => {
    const reason = server.notReadyReason;
    response.status(reason === undefined ? 200 : 503).json({ ready: reason === undefined, reason });
  });
  app.get("/status", async (_request, response) => {
    response.json(await status());
  });
  app.get("/metrics", async (_request, response) => {
    response.type("text/plain; version=0.0.4").send((await metrics?.text()) ?? "");
  });
  for (const [name, action] of Object.entries(actions)) {
    app.post(`/${name}`, express.json({ type: () => true, strict: false }), async (request, response) => {
      response.json((await action(request.body)) ?? {});
    });
  }
  app.use((request, response) => {
    const known = ["healthz", "status", "metrics", ...Object.keys(actions)].map((name) => `/${name}`);
    response.status(404).json({ error: `${request.path} is none of ${known.join(", ")}` });
  });
  app.use((thrown: unknown, _request: Request, response: Response, _next: NextFunction) => {
    response.status(500).json({ error: PluginError.from(thrown).message });
  });

  const http = createServer(app);
  const { address, release } = await unix(path, { makeDirectory: true }).open(http);
  return {
    address,
    async [Symbol.asyncDispose]() {
      await release();
      http.close();
      http.closeAllConnections();
    },
  };
}
