// The server outside the hosts: over HTTP on port 80 it tells who asked, on port 7 it sends back what it gets, and as a
// resolver it knows one name, known.example, and no other.
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

const KNOWN = Buffer.from("\x05known\x07example\0");
/** Type and class of the question: an IPv4 address of the internet. */
const IPV4 = Buffer.from([0, 1, 0, 1]);

/** Undefined for any other name or type: 192.0.2.77, for a minute, by a reference to the question's name. */
function knownName(question: Buffer): Buffer | undefined {
  const asked = Buffer.concat([KNOWN, IPV4]);
  if (!question.subarray(12).toString("latin1").toLowerCase().startsWith(asked.toString("latin1"))) return undefined;
  const header = Buffer.from(question.subarray(0, 12));
  header.set([0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0], 2);
  const record = [0xc0, 12, ...IPV4, 0, 0, 0, 60, 0, 4, 192, 0, 2, 77];
  return Buffer.concat([header, question.subarray(12, 12 + asked.length), Buffer.from(record)]);
}

const resolver = createSocket("udp6");
resolver.on("message", (question, { port, address }) => {
  if (question.length >= 12) resolver.send(knownName(question) ?? noSuchName(question), port, address);
});
resolver.bind(53);

who.listen(80, "::", () => {
  echo.listen(7, "::", () => process.stdout.write("ready\n"));
});
