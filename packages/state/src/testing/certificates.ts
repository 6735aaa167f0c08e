// Certificates for tests of TLS: an authority, and what it has signed for a server on 127.0.0.1 and for a client.
// eslint-disable-next-line no-restricted-imports -- a test makes the certificates it needs
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export class Certificates implements Disposable {
  readonly #home = mkdtempSync(join(tmpdir(), "portolan-tls-"));

  /** Makes ca, server and client, each with `.pem` and `.key`; good for a day. */
  constructor() {
    const openssl = (...args: string[]) => execFileSync("openssl", args, { stdio: "ignore" });
    const subject = (name: string) => ["-subj", `/CN=${name}`, "-nodes", "-newkey", "rsa:2048"];
    const authority = ["-keyout", this.path("ca.key"), "-out", this.path("ca.pem")];
    openssl("req", "-x509", ...subject("authority"), "-days", "1", ...authority);
    writeFileSync(this.path("names"), "subjectAltName=IP:127.0.0.1\n");
    for (const name of ["server", "client"]) {
      openssl("req", ...subject(name), "-keyout", this.path(`${name}.key`), "-out", this.path(`${name}.csr`));
      const signed = ["-CA", this.path("ca.pem"), "-CAkey", this.path("ca.key"), "-CAcreateserial", "-days", "1"];
      const names = ["-extfile", this.path("names"), "-out", this.path(`${name}.pem`)];
      openssl("x509", "-req", "-in", this.path(`${name}.csr`), ...signed, ...names);
    }
  }

  /** Flags of an etcd that answers nobody without a certificate. */
  get etcdFlags(): readonly string[] {
    return [
      ...["--cert-file", this.path("server.pem"), "--key-file", this.path("server.key")],
      ...["--client-cert-auth", "--trusted-ca-file", this.path("ca.pem")],
    ];
  }

  path(name: string): string {
    return join(this.#home, name);
  }

  read(name: string): Buffer {
    return readFileSync(this.path(name));
  }

  [Symbol.dispose](): void {
    rmSync(this.#home, { recursive: true, force: true });
  }
}
