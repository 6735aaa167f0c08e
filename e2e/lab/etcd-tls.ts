// One etcd whose clients have to show a certificate, as the store of hosts whose drivers are given theirs.
import { copyFile, mkdir, readdir } from "node:fs/promises";
import { existsSync } from "node:fs";
import { must } from "./command.ts";
import type { Host } from "./host.ts";
import { eventually } from "./wait.ts";

const ETCD = "/usr/bin/etcd";
const INSIDE = "/usr/local/bin/etcd";
const PORT = 2379;
/** Of the server; clients have theirs under the same name in folders of their own. */
const FOLDER = "/root/etcd-tls";

/** Whether this machine has what `startEtcd` and `makeCertificates` run. */
export const hasEtcd = (): boolean => existsSync(ETCD);

/** An authority, and a certificate of the server's and one of all clients'. The host's openssl is this machine's. */
const MAKE = `set -e; cd $0
openssl req -x509 -subj /CN=authority -nodes -newkey rsa:2048 -days 1 -keyout ca.key -out ca.pem
echo "subjectAltName=IP:$1" > names
for who in server client; do
  openssl req -subj /CN=$who -nodes -newkey rsa:2048 -keyout $who.key -out $who.csr
  openssl x509 -req -in $who.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 1 -extfile names -out $who.pem
done`;

/** Starts it on the host. @returns the URL that plugins are given as their store */
export async function startEtcdWithTls(host: Host): Promise<string> {
  const folder = host.path(FOLDER);
  await mkdir(folder, { recursive: true });
  await must(["sh", "-c", MAKE, folder, host.address.ipv4], { timeout: 60 });
  await copyFile(ETCD, host.path(INSIDE));
  const url = `https://${host.address.ipv4}:${PORT}`;
  const own = ["--cert-file", `${FOLDER}/server.pem`, "--key-file", `${FOLDER}/server.key`];
  const asked = ["--client-cert-auth", "--trusted-ca-file", `${FOLDER}/ca.pem`];
  const urls = ["--listen-client-urls", url, "--advertise-client-urls", url];
  await host.start("etcd", [INSIDE, "--data-dir", "/var/lib/etcd", "--logger", "zap", ...urls, ...own, ...asked]);
  const shown = ["--cacert", "ca.pem", "--cert", "client.pem", "--key", "client.key"];
  await eventually("etcd answers", async () => {
    const { code } = await host.exec(["env", "-C", FOLDER, "curl", "-sf", "-m", "2", ...shown, `${url}/health`]);
    return code === 0;
  });
  return `etcds://${host.address.ipv4}:${PORT}`;
}

/** Puts what a client has to show into a folder of the host: ca.pem, client.pem and client.key. */
export async function giveCertificates(server: Host, host: Host, folder: string): Promise<void> {
  await mkdir(host.path(folder), { recursive: true });
  for (const file of await readdir(server.path(FOLDER))) {
    if (file === "ca.pem" || file.startsWith("client."))
      await copyFile(server.path(`${FOLDER}/${file}`), host.path(`${folder}/${file}`));
  }
}
