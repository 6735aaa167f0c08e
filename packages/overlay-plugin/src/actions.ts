// What the commands may ask of the running driver, beside its status.
import type { AdminAction } from "@portolan/sdk";
import type { Overlay } from "./overlay.ts";

export function actionsOn(overlay: Pick<Overlay, "endpoints" | "rekey" | "forget">): Record<string, AdminAction> {
  return {
    endpoints: (body) => overlay.endpoints(field(body, "network")),
    rekey: async () => {
      await overlay.rekey();
      return {};
    },
    forget: async (body) => ({ networks: await overlay.forget(field(body, "host")) }),
  };
}

function field(body: unknown, name: string): string {
  const value = (body as Record<string, unknown> | null)?.[name];
  return typeof value === "string" ? value : "";
}
