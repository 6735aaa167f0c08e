// The server outside the hosts: over HTTP on port 80 it tells who asked, on port 7 it sends back what it gets, and as a
// resolver it knows no name at all.
import { createSocket } from "node:dgram";
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

/** The question with the header of an answer: recursion available, NXDOMAIN. Its counts of records are right already. */
function noSuchName(question: Buffer): Buffer {
  const answer = Buffer.from(question);
  answer.writeUInt16BE(0x8183, 2);
  return answer;
}
const resolver = createSocket("udp6");
resolver.on("message", (question, { port, address }) => {
  if (question.length >= 12) resolver.send(noSuchName(question), port, address);
});
resolver.bind(53);

who.listen(80, "::", () => {
  echo.listen(7, "::", () => process.stdout.write("ready\n"));
});
