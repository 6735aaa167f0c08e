// Tells when a filter table of iptables-legacy may have changed: the kernel notifies nobody, so its size is looked at.
import { readFile } from "node:fs/promises";
import { closeSocket, openSocket, readSocketOption } from "../libc.ts";

/** From linux/netfilter_ipv4/ip_tables.h, and the same in ip6_tables.h. */
const IPT_SO_GET_INFO = 64;
/** `struct ipt_getinfo`: the table's name, then which hooks it has, where their chains begin and end, and its size. */
const INFO_LENGTH = 84;
const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_RAW = 3;
const IPPROTO_IP = 0;
const IPPROTO_IPV6 = 41;
const IPPROTO_RAW = 255;

const FAMILIES = [
  { names: "/proc/self/net/ip_tables_names", family: AF_INET, level: IPPROTO_IP },
  { names: "/proc/self/net/ip6_tables_names", family: AF_INET6, level: IPPROTO_IPV6 },
] as const;

/** One look is two files of a line and two system calls: a twentieth of a millisecond, and no process. */
const LOOK_MS = 1000;

/** Rules that only change places, or go for others just as long, are not noticed. */
export class LegacyWatcher implements Disposable {
  readonly #changed: () => void;
  #before: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(changed: () => void) {
    this.#changed = changed;
    void this.#look();
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  async #look(): Promise<void> {
    const now = (await Promise.all(FAMILIES.map(sizeOf))).join();
    if (this.#closed) return;
    if (this.#before !== undefined && this.#before !== now) this.#changed();
    this.#before = now;
    this.#timer = setTimeout(() => void this.#look(), LOOK_MS).unref();
  }
}

/** Asking for a table makes it where it is missing, so its name has to be there. */
async function sizeOf({ names, family, level }: (typeof FAMILIES)[number]): Promise<string> {
  try {
    if (!(await readFile(names, "utf8")).split("\n").includes("filter")) return "";
    const socket = openSocket(family, SOCK_RAW, IPPROTO_RAW);
    try {
      const info = Buffer.alloc(INFO_LENGTH);
      info.write("filter");
      readSocketOption(socket, level, IPT_SO_GET_INFO, info);
      return info.toString("base64");
    } finally {
      closeSocket(socket);
    }
  } catch {
    // A kernel without legacy tables; or a process without descriptors, whose next look is soon.
    return "";
  }
}
