// The express application: POST /<Verb> with a JSON body, whatever its Content-Type, answered in JSON.
import express, { type Express, type NextFunction, type Request, type Response } from "express";
import type { Logger } from "../logger.ts";
import { PluginError } from "../plugin-error.ts";
import { errorAnswer, type Answer } from "./answer.ts";
import type { Route } from "./routes.ts";

const CONTENT_TYPE = "application/vnd.docker.plugins.v1.2+json";

export interface AppOptions {
  readonly routes: ReadonlyMap<string, Route>;
  readonly logger: Logger;
  readonly plugin: string | undefined;
  /** The largest body accepted, in bytes. */
  readonly bodyLimit: number;
  /** True while the server drains: every answer then ends its connection. */
  readonly isClosing: () => boolean;
}

export function appFor({ routes, logger, plugin, bodyLimit, isClosing }: AppOptions): Express {
  const app = express();
  app.disable("x-powered-by");
  // dockerd sends no Content-Type. A body's bytes are read here and parsed where an error can name the verb.
  const readBody = express.text({ type: () => true, limit: bodyLimit });

  for (const [verb, route] of routes) {
    app.post(`/${verb}`, readBody, async (request: Request<unknown, unknown, string | undefined>, response) => {
      const body = request.body ?? "";
      const answer = await route(body, () => !response.destroyed && !request.socket.destroyed);
      logger.debug("transcript", { verb, request: readable(body), status: answer.status, response: answer.body });
      send(response, answer);
    });
  }
  app.use((request, response) => {
    const unknown = new PluginError(`${request.method} ${request.path} is not a verb of this plugin`);
    send(response, errorAnswer(unknown, 404, "refused", plugin));
  });
  app.use(refuse);
  return app;

  /** What express throws: a body too large, cut off or wrongly encoded. Anything else would be a fault of ours. */
  function refuse(thrown: unknown, request: Request, response: Response, _next: NextFunction): void {
    const status = statusOf(thrown);
    const error = PluginError.from(thrown, { op: request.path.slice(1) });
    if (request.socket.destroyed) logger.debug("dockerd hung up before the whole call had arrived", { err: error });
    else logger.error("call refused", { verb: request.path.slice(1), err: error });
    response.shouldKeepAlive = false;
    if (!response.headersSent) send(response, errorAnswer(error, status, "refused", plugin));
  }

  function send(response: Response, { status, body }: Answer): void {
    const text = JSON.stringify(body);
    if (isClosing()) response.shouldKeepAlive = false;
    response.writeHead(status, { "Content-Type": CONTENT_TYPE, "Content-Length": Buffer.byteLength(text) }).end(text);
  }
}

/** A body as a log shows it: JSON where it is that. Nothing is parsed unless the line is written. */
function readable(body: string): { toJSON: () => unknown } {
  return {
    toJSON: () => {
      try {
        return JSON.parse(body) as unknown;
      } catch {
        return body;
      }
    },
  };
}

function statusOf(thrown: unknown): number {
  const status = Error.isError(thrown) && "status" in thrown ? thrown.status : undefined;
  return typeof status === "number" && status >= 400 && status < 600 ? status : 500;
}
