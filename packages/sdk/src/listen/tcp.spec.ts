import { readFile, writeFile } from "node:fs/promises";
import { serve } from "../serve.ts";
import { nullNetwork } from "../spec-support/null-drivers.ts";
import { TemporaryDirectory } from "../spec-support/temporary-directory.ts";
import { tcp } from "./tcp.ts";

test.each(["127.0.0.1:0", "[::1]:0"])("%s: dockerd finds the address in NAME.spec, until close", async (where) => {
  await using directory = await TemporaryDirectory.make();
  const listen = tcp(where, { name: "ts-null", specDirectory: directory.file("plugins") });
  const server = await serve({ network: nullNetwork(), listen });
  const spec = await readFile(directory.file("plugins/ts-null.spec"), "utf8");
  expect(spec).toBe(`${String(server.addresses[0])}\n`);
  const answer = await fetch(spec.trim().replace("tcp:", "http:") + "/Plugin.Activate", { method: "POST" });
  expect(await answer.json()).toEqual({ Implements: ["NetworkDriver"] });
  await server.close();
  await expect(readFile(directory.file("plugins/ts-null.spec"))).rejects.toThrow("ENOENT");
});

test("with TLS the file is JSON, which alone can name the certificates", async () => {
  await using directory = await TemporaryDirectory.make();
  const listen = tcp("127.0.0.1:0", {
    name: "ts-null",
    specDirectory: directory.path,
    tls: { server: {}, client: { caFile: "/etc/ca.pem", certFile: "/etc/cert.pem", keyFile: "/etc/key.pem" } },
  });
  await using server = await serve({ network: nullNetwork(), listen });
  expect(await directory.list()).toEqual(["ts-null.json"]);
  expect(JSON.parse(await readFile(directory.file("ts-null.json"), "utf8"))).toEqual({
    Name: "ts-null",
    Addr: expect.stringMatching(/^https:\/\/127\.0\.0\.1:\d+$/) as string,
    TLSConfig: {
      InsecureSkipVerify: false,
      CAFile: "/etc/ca.pem",
      CertFile: "/etc/cert.pem",
      KeyFile: "/etc/key.pem",
    },
  });
  expect(server.addresses[0]).toMatch(/^https:/);
});

test("a spec file that another instance has written meanwhile stays", async () => {
  await using directory = await TemporaryDirectory.make();
  const server = await serve({
    network: nullNetwork(),
    listen: tcp("127.0.0.1:0", { name: "ts-null", specDirectory: directory.path }),
  });
  await writeFile(directory.file("ts-null.spec"), "tcp://127.0.0.1:9\n");
  await server.close();
  expect(await directory.list()).toEqual(["ts-null.spec"]);
});

test.each(["127.0.0.1", "::1:80", "127.0.0.1:65536", ":80"])("refuses the address %s", (where) => {
  expect(() => tcp(where, { name: "x" })).toThrow("Give an address and a port");
});
