// The settings by which a plugin finds the store that several hosts share, the same for all of them.
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { label, path, text, type OptionType } from "./option-types.ts";
import { UsageError } from "./run-plugin.ts";

/** `etcd://10.0.0.1:2379,10.0.0.2:2379`, or `etcds://` for TLS. */
const storeUrl: OptionType<string> = {
  allowed: "etcd://HOST:PORT, several hosts joined by commas, or etcds:// for TLS",
  parse: (given) => (/^etcds?:\/\/[^\s/,]+:\d+(,[^\s/,]+:\d+)*$/.test(given) ? given : undefined),
};

export const storeSettings = {
  store: {
    flag: "store",
    value: "URL",
    type: storeUrl,
    defaultText: "none: this host is alone",
    help: "The etcd that the hosts share.",
  },
  storeCa: { flag: "store-ca", value: "FILE", type: path, help: "Certificate authority of etcds://." },
  storeCert: { flag: "store-cert", value: "FILE", type: path, help: "This host's certificate, with --store-key." },
  storeKey: { flag: "store-key", value: "FILE", type: path, help: "The key of --store-cert." },
  storeUser: { flag: "store-user", value: "NAME", type: text, help: "User of etcd, with --store-password-file." },
  storePasswordFile: { flag: "store-password-file", value: "FILE", type: path, help: "Where that user's password is." },
  hostName: {
    flag: "host-name",
    value: "NAME",
    type: label,
    default: hostname(),
    defaultText: "the host's",
    help: "What this host is called among those that share the store.",
  },
} as const;

export interface StoreAccess {
  readonly url: string;
  readonly ca?: Buffer;
  readonly cert?: Buffer;
  readonly key?: Buffer;
  readonly auth?: { readonly username: string; readonly password: string };
}

export type GivenStoreSettings = Readonly<Partial<Record<Exclude<keyof typeof storeSettings, "hostName">, string>>>;

/**
 * Reads the files that the settings name.
 * @returns undefined when no store is named
 * @throws UsageError for settings that do not fit together, or a file that cannot be read
 */
export function storeAccess(settings: GivenStoreSettings): StoreAccess | undefined {
  const { store: url, storeCa, storeCert, storeKey, storeUser, storePasswordFile } = settings;
  if (url === undefined) return undefined;
  if (url.startsWith("etcds:") !== (storeCa !== undefined)) {
    throw new UsageError("--store etcds://… and --store-ca go together");
  }
  if ((storeCert === undefined) !== (storeKey === undefined)) {
    throw new UsageError("--store-cert and --store-key go together");
  }
  if ((storeUser === undefined) !== (storePasswordFile === undefined)) {
    throw new UsageError("--store-user and --store-password-file go together");
  }
  const password = storePasswordFile === undefined ? undefined : read(storePasswordFile).toString().trim();
  return {
    url,
    ...(storeCa !== undefined && { ca: read(storeCa) }),
    ...(storeCert !== undefined && storeKey !== undefined && { cert: read(storeCert), key: read(storeKey) }),
    ...(storeUser !== undefined && password !== undefined && { auth: { username: storeUser, password } }),
  };
}

function read(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new UsageError(`${file} cannot be read`, { cause });
  }
}
