// The floor of any remote driver: answers dockerd's calls at once and does nothing, with a link that was there before.
// `node null-driver.ts SOCKET` on a host; the link is the benchmark's to make.
import { createServer } from "node:http";

/** The link that each container gets, one after the other: dockerd moves it back when a container ends. */
export const NULL_LINK = "null-end";

const ANSWERS: Readonly<Record<string, unknown>> = {
  "/Plugin.Activate": { Implements: ["NetworkDriver"] },
  "/NetworkDriver.GetCapabilities": { Scope: "local", ConnectivityScope: "local" },
  // Without the last one dockerd would add a network of its built-in driver, docker_gwbridge.
  "/NetworkDriver.Join": { InterfaceName: { SrcName: NULL_LINK, DstPrefix: "eth" }, DisableGatewayService: true },
  "/NetworkDriver.EndpointOperInfo": { Value: {} },
};

const [socket] = process.argv.slice(2);
if (import.meta.main) {
  const server = createServer({ keepAliveTimeout: 0, requireHostHeader: false }, (request, response) => {
    request.resume().once("end", () => {
      const body = JSON.stringify(ANSWERS[request.url ?? ""] ?? {});
      response.writeHead(200, { "Content-Type": "application/json", "Content-Length": body.length }).end(body);
    });
  });
  server.listen(socket, () => process.stdout.write("ready\n"));
}
