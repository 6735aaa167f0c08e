import { readFileSync } from "node:fs";
import { join } from "node:path";
import { DRIVERS } from "../drivers.ts";

const unit = (file: string): string => readFileSync(join(import.meta.dirname, "../../packaging/systemd", file), "utf8");

/** Values by their keys; of a key that stands twice, the last. */
const values = (text: string): Readonly<Record<string, string>> =>
  Object.fromEntries([...text.matchAll(/^(\w+)=(.*)$/gm)].map(([, key = "", value = ""]) => [key, value]));

/** What may differ from one driver to the next; each unit says why it needs what it has. */
const OWN = new Set([
  ...[
    "Description",
    "Documentation",
    "Requires",
    "Wants",
    "After",
    "ExecStart",
    "EnvironmentFile",
    "StateDirectory",
    "Also",
  ],
  ...[
    "CapabilityBoundingSet",
    "RestrictAddressFamilies",
    "RestrictNamespaces",
    "ReadWritePaths",
    "ProtectKernelTunables",
  ],
]);

describe.each(DRIVERS)("$name under systemd", ({ name, socket, stateDir, admin }) => {
  test("is called by the socket where dockerd looks, before dockerd starts", () => {
    const { ListenStream, Before, SocketMode, WantedBy } = values(unit(`${name}.socket`));
    expect({ ListenStream, Before, SocketMode, WantedBy }).toEqual({
      ListenStream: socket,
      Before: "docker.service",
      SocketMode: "0600",
      WantedBy: "sockets.target",
    });
  });

  test("keeps its state and its admin socket where they are without systemd", () => {
    const { StateDirectory, RuntimeDirectory } = values(unit(`${name}.service`));
    expect([`/var/lib/${String(StateDirectory)}`, `/run/${String(RuntimeDirectory)}/${name}.sock`]).toEqual([
      stateDir,
      admin,
    ]);
  });

  test("is confined as the others are", () => {
    const common = (text: string) => Object.entries(values(text)).filter(([key]) => !OWN.has(key));
    expect(common(unit(`${name}.service`))).toEqual(common(unit(`${DRIVERS[0]!.name}.service`)));
  });
});
