// `node connections.ts serve PORT`: answers connections until it is killed, in a process of its own since it blocks.
// `node connections.ts load ADDRESS PORT SECONDS`: makes one connection after the other and prints how many a second.
import { exchange, server, socketAddress } from "./libc-sockets.ts";

const WARM_UP = 300;
const [role, ...rest] = process.argv.slice(2);
if (role === "serve") {
  const serveOne = server(Number(rest[0]));
  process.stdout.write("ready\n");
  for (;;) serveOne();
}

const [ipv4 = "", port, seconds] = rest;
const address = socketAddress(ipv4, Number(port));
for (let connection = 0; connection < WARM_UP; connection += 1) exchange(address);
const started = performance.now();
const end = started + Number(seconds) * 1000;
let connections = 0;
while (performance.now() < end) {
  exchange(address);
  connections += 1;
}
process.stdout.write(`${connections / ((performance.now() - started) / 1000)}\n`);
