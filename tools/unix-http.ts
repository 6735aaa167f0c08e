// A GET over a Unix socket: how the tools ask Docker and the drivers' admin sockets.
import { request } from "node:http";

export interface Answer {
  readonly status: number;
  readonly body: string;
}

/** undefined when nobody answers on that socket within two seconds. */
export function get(socketPath: string, path: string): Promise<Answer | undefined> {
  return new Promise((resolve) => {
    const call = request({ socketPath, path, timeout: 2000, headers: { Host: "localhost" } }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => (body += chunk));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body }));
      response.on("error", () => resolve(undefined));
    });
    call.on("timeout", () => call.destroy());
    call.on("error", () => resolve(undefined));
    call.end();
  });
}
