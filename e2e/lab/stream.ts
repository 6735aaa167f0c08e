// `node stream.ts ADDRESS`: keeps a TCP connection to an echo server on port 7 busy, and on SIGTERM tells how that went as
// JSON. It does not connect again: a connection that breaks has been interrupted.
import { connect } from "node:net";

export interface StreamReport {
  readonly sent: number;
  readonly returned: number;
  /** Milliseconds between two echoes, at worst. */
  readonly longestSilence: number;
  /** Why the connection ended before it was told to; null when it did not. */
  readonly broken: string | null;
}

const every = 20;
const [address = ""] = process.argv.slice(2);
let sent = 0;
let returned = 0;
let longestSilence = 0;
let last = performance.now();
let broken: string | null = "never connected";

const socket = connect({ host: address, port: 7, noDelay: true }, () => {
  broken = null;
  last = performance.now();
  setInterval(() => {
    if (socket.write(".")) sent += 1;
  }, every);
});
socket.on("data", (echo) => {
  const now = performance.now();
  longestSilence = Math.max(longestSilence, now - last);
  last = now;
  returned += echo.length;
});
socket.on("error", (error) => (broken = error.message));
socket.on("end", () => (broken ??= "closed by the other side"));

process.once("SIGTERM", () => {
  longestSilence = Math.max(longestSilence, performance.now() - last);
  const report: StreamReport = { sent, returned, longestSilence: Math.round(longestSilence), broken };
  process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit());
});
setInterval(() => undefined, 60_000); // a broken connection is still reported
