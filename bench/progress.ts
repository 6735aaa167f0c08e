// What a benchmark of many minutes is doing, for whoever waits for it: on standard error, beside the table.

/** @param what is being done from now on */
export function progress(what: string): void {
  process.stderr.write(`${process.uptime().toFixed(0).padStart(5)} s: ${what}\n`);
}
