// How an executable's commands speak with the running driver: through its admin socket.
import { request } from "node:http";
import { text } from "node:stream/consumers";
import { PluginError } from "./plugin-error.ts";

/**
 * Asks the driver behind an admin socket.
 * @param action `status`, or the name of an action, which then gets `body`
 * @throws PluginError with the driver's words, or when no driver answers there
 */
export async function askAdmin(path: string, action: string, body?: unknown): Promise<unknown> {
  const { status, answer } = await call(path, action, body);
  if (status === 200) return JSON.parse(answer);
  throw new PluginError(errorIn(answer) ?? `the driver answered ${status}: ${answer}`);
}

function call(path: string, action: string, body: unknown): Promise<{ status: number; answer: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; answer: string }>();
  const method = body === undefined ? "GET" : "POST";
  request({ socketPath: path, path: `/${action}`, method }, (response) => {
    text(response).then((answer) => resolve({ status: response.statusCode ?? 0, answer }), reject);
  })
    .on("error", (cause) =>
      reject(new PluginError(`no driver answers at ${path}`, { cause, hint: "Is it running? See --admin." })),
    )
    .end(body === undefined ? undefined : JSON.stringify(body));
  return promise;
}

function errorIn(answer: string): string | undefined {
  try {
    const { error } = JSON.parse(answer) as { error?: unknown };
    return typeof error === "string" ? error : undefined;
  } catch {
    return undefined;
  }
}
