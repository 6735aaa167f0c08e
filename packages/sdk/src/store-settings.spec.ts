import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readSettings } from "./settings.ts";
import { storeAccess, storeSettings } from "./store-settings.ts";

describe("the settings of a shared store", () => {
  const home = mkdtempSync(join(tmpdir(), "portolan-store-settings-"));
  afterAll(() => rmSync(home, { recursive: true }));
  const file = (name: string, content: string) => {
    writeFileSync(join(home, name), content);
    return join(home, name);
  };

  it("name no store by default, and this host by its own name", () => {
    const outcome = readSettings({ name: "x", version: "1", summary: "", settings: storeSettings }, [], {});
    expect(outcome).toMatchObject({ kind: "run", settings: { hostName: storeSettings.hostName.default } });
    expect(storeAccess({})).toBeUndefined();
  });

  it.each(["etcd://", "http://a:2379", "etcd://a", "etcd://a:2379,b", "etcd://a:2379/x"])("refuse %s", (url) => {
    const description = { name: "x", version: "1", summary: "", settings: storeSettings };
    const outcome = readSettings(description, ["--store", url], {});
    expect(outcome).toMatchObject({ kind: "refuse", message: expect.stringContaining("etcd://HOST:PORT") as string });
  });

  it("give what the files hold", () => {
    const access = storeAccess({
      store: "etcds://a:2379",
      storeCa: file("ca", "authority"),
      storeCert: file("cert", "certificate"),
      storeKey: file("key", "secret"),
      storeUser: "portolan",
      storePasswordFile: file("password", "hunter2\n"),
    });
    expect(access).toEqual({
      url: "etcds://a:2379",
      ca: Buffer.from("authority"),
      cert: Buffer.from("certificate"),
      key: Buffer.from("secret"),
      auth: { username: "portolan", password: "hunter2" },
    });
  });

  it.each([
    ["TLS without an authority", { store: "etcds://a:2379" }, "--store-ca"],
    ["an authority without TLS", { store: "etcd://a:2379", storeCa: "/x" }, "--store-ca"],
    ["a certificate without its key", { store: "etcd://a:2379", storeCert: "/x" }, "--store-key"],
    ["a user without a password", { store: "etcd://a:2379", storeUser: "x" }, "--store-password-file"],
    ["a file that is not there", { store: "etcds://a:2379", storeCa: "/no/such/file" }, "/no/such/file cannot be read"],
  ])("refuse %s", (_, settings, words) => {
    expect(() => storeAccess(settings)).toThrow(words);
  });
});
