// Programs in containers, and whoever asks them.
// eslint-disable-next-line no-restricted-imports -- a container's own program
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect } from "node:net";
import type { Netns } from "@portolan/kernel/testing";

/** Tells each connection to port 80 of a container the word, until it is disposed of. */
export async function answerIn({ name }: Netns, word: string): Promise<AsyncDisposable> {
  const script = `
    require("node:net").createServer((socket) => socket.on("error", () => undefined).end("${word}"))
      .listen(80, "0.0.0.0", () => console.log("listening"));`;
  const program = spawn("ip", ["netns", "exec", name, process.execPath, "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(program.stdout, "data");
  return {
    async [Symbol.asyncDispose]() {
      const ended = once(program, "exit");
      program.kill("SIGKILL");
      await ended;
    },
  };
}

/** @returns what a port of this host itself answers, or why it does not */
export async function ask(port: number): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  const patience = setTimeout(() => socket.destroy(new Error("no answer")), 3_000);
  try {
    let answer = "";
    for await (const part of socket) answer += String(part);
    return answer;
  } catch (error) {
    return (error as Error).message;
  } finally {
    clearTimeout(patience);
    socket.destroy();
  }
}
