// `node udp-client.ts ADDRESS PORT SOURCE-PORT`: sends one packet and prints what comes back within a second.
import { createSocket } from "node:dgram";

const [address = "", port = "", sourcePort = ""] = process.argv.slice(2);
const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
socket.bind(Number(sourcePort), () => {
  // Connected: an answer from any other address than the one that was asked is none.
  socket.connect(Number(port), address, () => socket.send("?"));
});
socket.on("message", (answer) => {
  process.stdout.write(answer);
  process.exit();
});
socket.on("error", () => process.exit(1));
setTimeout(() => process.exit(1), 1000);
