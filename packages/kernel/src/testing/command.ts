// Runs the commands with which tests look at the kernel from outside.
import { runProgram } from "../process.ts";

/** @param command words separated by one blank; nothing is quoted @throws Error with what the command said, when it fails */
export async function output(command: string, input = ""): Promise<string> {
  return run(command, command.split(" "), input);
}

/** @param line as an administrator types it, bash's own language @throws Error with what it said, when it fails */
export async function shell(line: string): Promise<string> {
  return run(line, ["bash", "-c", line]);
}

async function run(command: string, [program = "", ...parameters]: readonly string[], input = ""): Promise<string> {
  const result = await runProgram(program, parameters, input);
  if (result?.code === 0) return result.stdout;
  throw new Error(`${command}: ${result?.stderr.trim() ?? "there is no such program"}`);
}
