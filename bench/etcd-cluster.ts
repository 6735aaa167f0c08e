// Real etcd servers for a benchmark, on loopback, with their data in a folder that goes with them.
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export interface EtcdCluster extends AsyncDisposable {
  /** As PORTOLAN_STORE takes it. */
  readonly url: string;
}

export async function startEtcd(members: number): Promise<EtcdCluster> {
  const home = mkdtempSync(join(tmpdir(), "portolan-etcd-"));
  const clientPort = (member: number) => 23790 + member * 10;
  const peer = (member: number) => `http://127.0.0.1:${clientPort(member) + 1}`;
  const all = Array.from({ length: members }, (_, member) => member);
  const children = all.map((member): ChildProcess => {
    const client = `http://127.0.0.1:${clientPort(member)}`;
    const flags = [
      ["--name", `m${member}`],
      ["--data-dir", join(home, `m${member}`)],
      ["--listen-client-urls", client],
      ["--advertise-client-urls", client],
      ["--listen-peer-urls", peer(member)],
      ["--initial-advertise-peer-urls", peer(member)],
      ["--initial-cluster", all.map((other) => `m${other}=${peer(other)}`).join(",")],
      ["--logger", "zap"],
      ["--log-level", "error"],
    ];
    return spawn("etcd", flags.flat(), { stdio: ["ignore", "ignore", "inherit"] });
  });
  for (const member of all) while (!(await answers(clientPort(member)))) await sleep(50);
  await sleep(1_500); // until they have elected a leader
  return {
    url: `etcd://${all.map((member) => `127.0.0.1:${clientPort(member)}`).join(",")}`,
    async [Symbol.asyncDispose]() {
      const ends = children.map((child) => once(child, "exit"));
      for (const child of children) child.kill("SIGKILL");
      await Promise.all(ends);
      rmSync(home, { recursive: true, force: true });
    },
  };
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
