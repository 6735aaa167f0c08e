// Network namespaces beside the one a test runs in: sandboxes, hosts, what is outside.
import { output } from "./command.ts";

export interface Netns extends AsyncDisposable {
  readonly name: string;
  /** The file that stands for it, for `IFLA_NET_NS_FD` and `SandboxKey`. */
  readonly path: string;
  /** Runs a command inside, words separated by one blank. @returns its stdout @throws Error when it fails */
  run(command: string, input?: string): Promise<string>;
}

let count = 0;

/** A namespace with its loopback up. It is gone when it is disposed of. */
export async function makeNetns(): Promise<Netns> {
  count += 1;
  const name = `pt-test-${process.pid}-${count}`;
  await output(`ip netns add ${name}`);
  const run = (command: string, input = "") => output(`ip netns exec ${name} ${command}`, input);
  await run("ip link set lo up");
  return {
    name,
    path: `/run/netns/${name}`,
    run,
    async [Symbol.asyncDispose]() {
      await output(`ip netns del ${name}`);
    },
  };
}
