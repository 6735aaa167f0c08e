// A TCP port, told to dockerd by a .spec or .json file in its plugin directory.
import { mkdir, readFile, rename, unlink, writeFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { ServerOptions as TlsOptions } from "node:https";
import { PluginError } from "../plugin-error.ts";
import { listening, type Listener } from "./listener.ts";

export interface TcpOptions {
  /** The driver's name, hence the file's. */
  readonly name: string;
  /** Certificates of this server (`TlsOptions`), and the files with which dockerd connects. */
  readonly tls?: { readonly server: TlsOptions; readonly client: TlsClientFiles };
  /** Where dockerd looks. Default `/etc/docker/plugins`. */
  readonly specDirectory?: string;
}

/** Paths as dockerd sees them. */
export interface TlsClientFiles {
  readonly caFile: string;
  readonly certFile?: string;
  readonly keyFile?: string;
}

/**
 * Listens on `host:port` (port 0: any free one), and writes `NAME.spec`, or `NAME.json` when TLS is on, since only that
 * can tell dockerd its certificates. The file is removed at close. Mind that whoever reaches the port is root: without
 * TLS use a loopback address.
 */
export function tcp(hostAndPort: string, options: TcpOptions): Listener {
  const { host, port } = parseHostAndPort(hostAndPort);
  if (options.name === "" || options.name.includes("/")) {
    throw new PluginError(`plugin name "${options.name}" is not allowed`, { hint: 'Give a name without "/".' });
  }
  const directory = options.specDirectory ?? "/etc/docker/plugins";
  return {
    ...(options.tls === undefined ? {} : { tls: options.tls.server }),
    async open(server) {
      await listening(server, () => server.listen({ host, port }));
      const bound = server.address() as AddressInfo;
      const shown = bound.family === "IPv6" ? `[${bound.address}]` : bound.address;
      // dockerd uses TLS only when the scheme is https.
      const address = `${options.tls === undefined ? "tcp" : "https"}://${shown}:${bound.port}`;
      const { file, text } = specFile(options, address);
      const path = join(directory, file);
      try {
        await mkdir(directory, { recursive: true });
        await writeFile(`${path}.new`, text, { mode: 0o644 });
        await rename(`${path}.new`, path);
      } catch (error) {
        server.close();
        throw new PluginError(`cannot write ${path}`, { cause: error });
      }
      return { address, release: () => removeOwn(path, text) };
    },
  };
}

function parseHostAndPort(text: string): { host: string; port: number } {
  const [, bracketed, plain, port] = /^(?:\[([^[\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || port === undefined || Number(port) > 65535) {
    throw new PluginError(`TCP address "${text}" is not allowed`, {
      hint: "Give an address and a port, for example 127.0.0.1:4100 or [::1]:0.",
    });
  }
  return { host, port: Number(port) };
}

function specFile({ name, tls }: TcpOptions, address: string): { file: string; text: string } {
  if (tls === undefined) return { file: `${name}.spec`, text: `${address}\n` };
  const { caFile, certFile, keyFile } = tls.client;
  const TLSConfig = { InsecureSkipVerify: false, CAFile: caFile, CertFile: certFile, KeyFile: keyFile };
  return { file: `${name}.json`, text: `${JSON.stringify({ Name: name, Addr: address, TLSConfig }, undefined, 2)}\n` };
}

/** Another instance may have written its own address meanwhile: that one stays. */
async function removeOwn(path: string, text: string): Promise<void> {
  const found = await readFile(path, "utf8").catch(() => undefined);
  if (found === text) await unlink(path).catch(() => undefined);
}
