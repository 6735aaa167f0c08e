// A DHCP server on the underlay, for containers that are on it themselves: dnsmasq, as many a LAN has it.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Host } from "./host.ts";
import { Service } from "./service.ts";
import { eventually } from "./wait.ts";

export interface DhcpServerOptions {
  /** The addresses it gives out, as `198.51.100.200,198.51.100.220`. */
  readonly range: string;
  /** Further flags of dnsmasq. */
  readonly flags?: readonly string[];
}

export interface Lease {
  readonly mac: string;
  readonly address: string;
  /** `*` when the client told none. */
  readonly hostname: string;
  readonly clientId: string;
}

export class DhcpServer implements AsyncDisposable {
  readonly #folder: string;
  readonly #program: Service;

  private constructor(folder: string, program: Service) {
    this.#folder = folder;
    this.#program = program;
  }

  /** Leases of two minutes, the least that dnsmasq gives; what an earlier server gave is refused, as by a new router. */
  static async start(host: Host, { range, flags = [] }: DhcpServerOptions): Promise<DhcpServer> {
    const folder = await mkdtemp(join(tmpdir(), "portolan-dhcp-"));
    const { underlay } = host.lab;
    const file = join(folder, "leases");
    const base = ["dnsmasq", "--conf-file=/dev/null", "--no-daemon", "--port=0", "--dhcp-authoritative", "--no-ping"];
    const lan = [
      "--interface=eth0",
      "--log-dhcp",
      `--dhcp-range=${range},255.255.255.0,2m`,
      `--dhcp-leasefile=${file}`,
    ];
    const router = "--dhcp-option=option:router,198.51.100.1";
    const argv = ["unshare", "--fork", "--kill-child", ...base, ...lan, router, ...flags];
    const program = await Service.start(underlay.inServer(argv), join(folder, "log"));
    await eventually("dnsmasq serves DHCP", async () =>
      (await readFile(join(folder, "log"), "utf8")).includes("DHCP, IP range"),
    );
    return new DhcpServer(folder, program);
  }

  async leases(): Promise<readonly Lease[]> {
    const text = await readFile(join(this.#folder, "leases"), "utf8").catch(() => "");
    return text
      .split("\n")
      .filter((line) => /^\d/.test(line))
      .map((line) => {
        const [, mac = "", address = "", hostname = "", clientId = ""] = line.split(" ");
        return { mac, address, hostname, clientId };
      });
  }

  /** How often it has confirmed an address so far. */
  async confirmations(address: string): Promise<number> {
    const log = await readFile(join(this.#folder, "log"), "utf8");
    return log.split("\n").filter((line) => line.includes(`DHCPACK(eth0) ${address} `)).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program.stop();
    await rm(this.#folder, { recursive: true });
  }
}
