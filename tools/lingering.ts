// What a process is at that should have ended: its children, and where its threads wait.
import { readdirSync, readFileSync } from "node:fs";

/** @returns a line for each child and for each thread, with the kernel's function and system call that it waits in */
export function describeProcess(pid: number): readonly string[] {
  return look(() => readdirSync(`/proc/${pid}/task`)).flatMap((thread) => {
    const about = (file: string) => look(() => [readFileSync(`/proc/${pid}/task/${thread}/${file}`, "utf8").trim()]);
    const children = about("children").flatMap((line) => line.split(" ").filter((word) => word !== ""));
    return [
      `thread ${thread}: ${["comm", "wchan", "syscall"].flatMap(about).join(", ")}`,
      ...children.map((child) => `child ${child}: ${look(() => [commandLine(child)]).join("")}`),
    ];
  });
}

const commandLine = (pid: string) => readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").slice(0, 120);

/** Processes and threads come and go while we look. */
function look(read: () => readonly string[]): readonly string[] {
  try {
    return read();
  } catch {
    return [];
  }
}
