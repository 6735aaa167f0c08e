// One network whose VXLAN link learns: what it does not know, and what is for all, it sends to each other node. These default
// destinations follow the nodes; what the link learned is the kernel's own business.
import { isKernelError, type Kernel, type LinkHandle } from "@portolan/kernel";
import { Forwarding, type ForwardingParts, type Repair } from "../forwarding.ts";

export class Flooding extends Forwarding {
  readonly #parts: ForwardingParts & { readonly kernel: Pick<Kernel, "stations"> };
  readonly #told = new Set<string>();
  #link: LinkHandle | undefined;
  /** Of the link that was attached last: another one has nothing to be put right. */
  #index: number | undefined;
  #working: Promise<void> = Promise.resolve();
  /** Something was refused: the next comparison puts it right. */
  #isDirty = false;

  constructor(parts: ForwardingParts) {
    super(parts);
    this.#parts = parts;
  }

  override get needsRepair(): boolean {
    return this.#isDirty || super.needsRepair;
  }

  override peersKnown(): void {
    super.peersKnown();
    this.#follow();
  }

  override hostChanged(host: string): void {
    super.hostChanged(host);
    this.#follow();
  }

  override async settled(): Promise<void> {
    await super.settled();
    await this.#working;
  }

  /** Of a container of this host: what was learned of another place is forgotten here, too, before all are told. */
  override async announce(address: string, mac: string): Promise<void> {
    const { kernel, log } = this.#parts;
    if (this.#link) {
      await kernel.stations.remove(this.#link, mac).catch((error: unknown) => {
        log.warn("could not forget where a container was before", { err: error });
      });
    }
    await super.announce(address, mac);
  }

  override async attach(link: LinkHandle, bridge?: LinkHandle): Promise<Repair> {
    const { peers, kernel } = this.#parts;
    const { stale, missing } = await super.attach(link, bridge);
    this.#link = undefined;
    await this.#working;
    const found = new Set(await kernel.stations.defaults(link));
    const isNew = found.size === 0 && this.#index !== link.index;
    const wanted = peers.known ? this.#wanted() : found;
    this.#told.clear();
    for (const via of found) this.#told.add(via);
    this.#isDirty = false;
    this.#link = link;
    this.#index = link.index;
    this.#follow();
    await this.settled();
    return {
      stale: stale + found.difference(wanted).size,
      missing: missing + (isNew ? 0 : wanted.difference(found).size),
    };
  }

  override detach(): void {
    super.detach();
    this.#link = undefined;
  }

  /** A node that is away is sent to until the swarm says that it is gone: nobody else would know. */
  #wanted(): Set<string> {
    const { peers, host, viaOf } = this.#parts;
    const others = [...peers.all.keys()].filter((name) => name !== host);
    return new Set(others.flatMap((name) => viaOf(name) ?? []));
  }

  /** One change after the other. */
  #follow(): void {
    this.#working = this.#working.then(() => this.#apply());
  }

  async #apply(): Promise<void> {
    const { peers, kernel, log } = this.#parts;
    const link = this.#link;
    // Until the nodes are known the kernel keeps what it has from an earlier life.
    if (!link || !peers.known) return;
    const wanted = this.#wanted();
    try {
      for (const via of this.#told.difference(wanted)) {
        await kernel.stations.removeDefault(link, via);
        this.#told.delete(via);
      }
      for (const via of wanted.difference(this.#told)) {
        await kernel.stations.addDefault(link, via);
        this.#told.add(via);
      }
    } catch (error) {
      this.#isDirty = true;
      // A link that somebody removed is mended soon, and then it is told everything.
      if (!isKernelError(error, "ENODEV")) log.warn("could not tell the kernel of the swarm's nodes", { err: error });
    }
  }
}
