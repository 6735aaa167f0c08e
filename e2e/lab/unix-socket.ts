// Asking an HTTP server on a Unix socket, as the admin socket and dockerd are asked.
import { request } from "node:http";
import { patience } from "./patience.ts";

export interface Answer {
  readonly status: number;
  readonly body: string;
}

/** GET `path`; undefined when nobody answers there within `seconds`. A socket inside a host is reached through /proc/PID/root. */
export function get(socketPath: string, path: string, seconds = 2): Promise<Answer | undefined> {
  return new Promise((resolve) => {
    const call = request({ socketPath, path, timeout: seconds * 1000 * patience, agent: false }, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (text: string) => (body += text));
      response.once("end", () => resolve({ status: response.statusCode ?? 0, body }));
      response.once("error", () => resolve(undefined));
    });
    call.once("timeout", () => call.destroy());
    call.once("error", () => resolve(undefined));
    call.end();
  });
}
