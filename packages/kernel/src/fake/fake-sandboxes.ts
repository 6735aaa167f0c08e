// Containers' network namespaces in memory, as far as links that hang on the host's are in them.
import type { Sandboxes } from "../sandboxes.ts";
import type { FakeHost } from "./fake-host.ts";

export class FakeSandboxes implements Sandboxes {
  readonly #host: FakeHost;

  constructor(host: FakeHost) {
    this.#host = host;
  }

  async exists(path: string): Promise<boolean> {
    await this.#host.enter("look for sandbox", path);
    return this.#host.sandboxes.has(path);
  }
}
