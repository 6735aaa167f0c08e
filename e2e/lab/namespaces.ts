// Processes in Linux namespaces of their own that cannot outlive the process that started them.
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { must } from "./command.ts";
import { eventually } from "./wait.ts";

/** A process that holds namespaces open. They have no names: when the process is gone, so are they. */
export interface Holder {
  /** As the machine counts, not as the namespace does. */
  readonly pid: number;
  /** Kills it and waits until it is gone; everything in its pid namespace dies with it. */
  kill(): Promise<void>;
}

/**
 * Starts a program that says "ready" in its first line, and resolves when it has.
 * @param log file descriptor for what it says on standard error
 */
export async function hold(unshare: readonly string[], argv: readonly string[], log: number): Promise<Holder> {
  // Should this process be killed, the kernel kills `unshare`, and `--kill-child` in turn what it started.
  const command = ["--pdeathsig", "KILL", "--", "unshare", ...unshare, "--", ...argv];
  const child = spawn("setpriv", command, { stdio: ["ignore", "pipe", log] });
  const gone = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const ready = new Promise<boolean>((resolve) => {
    child.stdout?.once("data", (line: Buffer) => resolve(line.toString().startsWith("ready")));
    child.once("error", () => resolve(false));
  });
  if (!(await Promise.race([ready, gone.then(() => false)])) || child.pid === undefined) {
    child.kill("SIGKILL");
    throw new Error(`${argv.join(" ")}: did not become ready`);
  }
  const pid = unshare.includes("--fork") ? await onlyChild(child.pid) : child.pid;
  return {
    pid,
    async kill() {
      if (child.exitCode === null && child.signalCode === null) process.kill(pid, "SIGKILL");
      await gone;
    },
  };
}

/** The process that `pid` has started, once it has. */
export function onlyChild(pid: number): Promise<number> {
  return eventually(`a child of process ${pid}`, async () => {
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() => {
      throw new Error(`process ${pid} ended before it had started its program`);
    });
    return children.trim() === "" ? undefined : Number(children.trim().split(" ")[0]);
  });
}

/** The words before a command that is to run in the network namespace of process `pid`. */
function inNetworkOf(pid: number): string[] {
  return ["nsenter", `--net=/proc/${pid}/ns/net`, "--"];
}

/** Runs lines of `ip -batch` in the network namespace of process `pid`. */
export async function ip(pid: number, ...lines: string[]): Promise<void> {
  await must([...inNetworkOf(pid), "ip", "-batch", "-"], {
    input: lines.join("\n"),
    shown: `ip ${lines.join("; ip ")}`,
  });
}
