// `node stream.ts ADDRESS`: keeps a TCP connection to an echo server on port 7 busy, and on SIGTERM tells how that went as
// JSON. It does not connect again: a connection that breaks has been interrupted. Once the first echo is there it says so in
// a line: until then the other side was starting its server for this connection.
import { connect } from "node:net";

export interface StreamReport {
  readonly sent: number;
  readonly returned: number;
  /** Milliseconds between two echoes, at worst. */
  readonly longestSilence: number;
  /** Milliseconds after the first echo at which that began. */
  readonly silentAt: number;
  /** Why the connection ended before it was told to; null when it did not. */
  readonly broken: string | null;
}

const every = 20;
const [address = ""] = process.argv.slice(2);
let sent = 0;
let returned = 0;
let longestSilence = 0;
let silentAt = 0;
let first: number | undefined;
let last = 0;
let broken: string | null = "never connected";

const socket = connect({ host: address, port: 7, noDelay: true }, () => {
  broken = null;
  setInterval(() => {
    if (socket.write(".")) sent += 1;
  }, every);
});
socket.on("data", (echo) => {
  if (first === undefined) {
    first = last = performance.now();
    process.stdout.write("it flows\n");
  }
  listened();
  returned += echo.length;
});

/** How long it has been silent until now. */
function listened(): void {
  const now = performance.now();
  if (first === undefined) return;
  if (now - last > longestSilence) [longestSilence, silentAt] = [now - last, last - first];
  last = now;
}

socket.on("error", (error) => (broken = error.message));
socket.on("end", () => (broken ??= "closed by the other side"));

process.once("SIGTERM", () => {
  listened();
  const [silence, at] = [longestSilence, silentAt].map(Math.round) as [number, number];
  const report: StreamReport = { sent, returned, longestSilence: silence, silentAt: at, broken };
  process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit());
});
setInterval(() => undefined, 60_000); // a broken connection is still reported
