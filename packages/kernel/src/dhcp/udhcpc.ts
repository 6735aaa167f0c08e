// DHCP by busybox' udhcpc, which runs on more devices than any other client and changes nothing by itself.
import { chmod, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { KernelError } from "../kernel-error.ts";
import { runProgram, startProgram } from "../process.ts";
import type { Dhcp, DhcpClientPlace, DhcpKeeper, DhcpLease, DhcpNews, DhcpWish } from "./dhcp.ts";
import { readEvent } from "./event.ts";
import { script } from "./script.ts";

/** Four packets, two seconds apart: a server that pings an address before it offers it takes a second or three. */
const ATTEMPTS = ["-t", "4", "-T", "2"];
const RELEASE_MS = 1000;
/** Asked again that long after nobody answered; udhcpc's own 20 s are long for a server that comes back. */
const PAUSE = ["-A", "5"];

const scriptIn = (directory: string): string => join(directory, "dhcp.sh");

/** @param directory where its script may lie: one whose files may be executed, which /run often does not allow */
export async function openDhcp(directory: string): Promise<Dhcp> {
  const file = scriptIn(directory);
  const there = await readFile(file, "utf8").catch(() => undefined);
  if (there !== script) {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await writeFile(file, script);
  }
  await chmod(file, 0o700);
  return new Udhcpc(file);
}

/** Takes back what {@link openDhcp} left in the directory. */
export async function removeDhcp(directory: string): Promise<void> {
  await rm(scriptIn(directory), { force: true });
}

class Udhcpc implements Dhcp {
  readonly #script: string;

  constructor(path: string) {
    this.#script = path;
  }

  async acquire(link: string, wish: DhcpWish): Promise<DhcpLease> {
    const subject = { operation: "get a DHCP lease for", device: link };
    const once = ["-f", "-n", "-q", "-i", link, "-s", this.#script, ...ATTEMPTS];
    const result = await runProgram("udhcpc", [...once, ...asOptions(wish)]);
    if (!result) throw new KernelError({ ...subject, code: "ENOENT", detail: NOT_INSTALLED });
    for (const line of result.stdout.split("\n")) {
      const event = readEvent(line);
      if (event?.name === "bound" && event.lease) return event.lease;
    }
    const refused = result.stdout.includes("dhcp-event nak");
    const detail = refused ? "the DHCP server refused it" : `no DHCP server answered; ${lastWords(result.stderr)}`;
    throw new KernelError({ ...subject, code: "ETIMEDOUT", detail });
  }

  keep(
    { sandbox, mac }: DhcpClientPlace,
    lease: DhcpLease,
    wish: DhcpWish,
    onNews: (news: DhcpNews) => void,
  ): DhcpKeeper {
    const options = [...asOptions({ ...wish, address: lease.address.replace(/\/.*/, "") }), ...PAUSE];
    const keeper = ["sh", this.#script, "keep", mac, ...options];
    let current: DhcpLease | undefined = lease;
    let hasBound = false;
    let isStopping = false;
    let isMissing = false;
    const released = Promise.withResolvers<undefined>();

    const client = startProgram("nsenter", [`--net=${sandbox}`, ...keeper], (line) => {
      const event = readEvent(line);
      if (event?.name === "missing") isMissing = true;
      if (event?.name === "gone") client.finish();
      // At its start the client says so, too: the link has no lease of its own yet.
      if (event?.name === "deconfig") {
        if (isStopping) released.resolve(undefined);
        else if (hasBound) lose();
      }
      if (event?.lease && (event.name === "bound" || event.name === "renew")) take(event.lease);
    });

    const take = (next: DhcpLease) => {
      hasBound = true;
      const isSame = current?.address === next.address && current.gateway === next.gateway;
      if (!isSame) client.say(`use ${next.address} ${next.gateway ?? ""}`);
      current = next;
      onNews({ kind: "lease", lease: next });
    };
    const lose = () => {
      client.say("drop");
      current = undefined;
      onNews({ kind: "lost" });
    };
    void client.ended.then((stderr) => {
      released.resolve(undefined);
      if (isStopping) return;
      onNews({ kind: "ended", reason: isMissing ? "the link has gone from its sandbox" : lastWords(stderr) });
    });
    const stop = async () => {
      isStopping = true;
      client.finish();
      await client.ended;
    };
    return {
      stop,
      renew: () => client.say("renew"),
      async release() {
        isStopping = true;
        if (hasBound) {
          client.say("release");
          const timer = setTimeout(() => released.resolve(undefined), RELEASE_MS);
          await released.promise;
          clearTimeout(timer);
        }
        await stop();
      },
    };
  }
}

const NOT_INSTALLED = "there is no udhcpc: install it (Debian and Ubuntu: apt-get install udhcpc)";

/** Whether a lease could be asked for at all, for a refusal at network creation rather than at the first container. */
export async function hasUdhcpc(): Promise<boolean> {
  return (await runProgram("udhcpc", ["--help"])) !== undefined;
}

function asOptions({ hostname, clientId, address }: DhcpWish): readonly string[] {
  return [
    ...["-O", "staticroutes"],
    ...(address === undefined ? [] : ["-r", address]),
    ...(hostname === undefined ? [] : ["-x", `hostname:${hostname}`]),
    ...(clientId === undefined ? [] : ["-C", "-x", `0x3d:${clientId}`]),
  ];
}

const lastWords = (stderr: string) => stderr.trim().split("\n").at(-1) ?? "";
