// The server outside the hosts: over HTTP on port 80 it tells who asked, and on port 7 it sends back what it gets.
import { createServer as createHttpServer } from "node:http";
import { createServer } from "node:net";

/** An IPv4 client on a socket of both families has a mapped address. */
function plain(address = "nobody"): string {
  return address.replace(/^::ffff:/, "");
}

const who = createHttpServer((request, response) => {
  response.setHeader("connection", "close").end(`${plain(request.socket.remoteAddress)}\n`);
});
const echo = createServer((socket) => {
  socket.on("error", () => socket.destroy()).pipe(socket);
});

who.listen(80, "::", () => {
  echo.listen(7, "::", () => process.stdout.write("ready\n"));
});
