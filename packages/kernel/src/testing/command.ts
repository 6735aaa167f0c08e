// Runs the commands with which tests look at the kernel from outside.
import { runProgram } from "../process.ts";

/** @param command words separated by one blank; nothing is quoted @throws Error with what the command said, when it fails */
export async function output(command: string, input = ""): Promise<string> {
  const [program = "", ...parameters] = command.split(" ");
  const result = await runProgram(program, parameters, input);
  if (result?.code === 0) return result.stdout;
  throw new Error(`${command}: ${result?.stderr.trim() ?? "there is no such program"}`);
}
