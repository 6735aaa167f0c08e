// Links that hang on others, in memory, refusing what Linux refuses.
import { KernelError } from "../kernel-error.ts";
import type { Link } from "../kernel.ts";
import { checkLinkName } from "../link-name.ts";
import { macBytes } from "../rtnetlink/encode.ts";
import type { DummySpec, LinkKind, StackedLinks, StackedSpec, Stacking } from "../stacked-links.ts";
import { describeLink, randomMac } from "./fake-links.ts";
import type { FakeHost, FakeLink } from "./fake-host.ts";

const ETHERNET_MTU = 1500;

export class FakeStackedLinks implements StackedLinks {
  /** Kinds of which this kernel knows nothing. */
  readonly lacking = new Set<LinkKind>();
  readonly #host: FakeHost;

  constructor(host: FakeHost) {
    this.#host = host;
  }

  has(kind: LinkKind): Promise<boolean> {
    return Promise.resolve(!this.lacking.has(kind));
  }

  async create(spec: StackedSpec): Promise<Link> {
    const { name, parent: parentName, stacking, mac, mtu, up = false } = spec;
    const operation = `create ${stacking.kind}`;
    const refuse = (code: string, detail?: string) => {
      throw new KernelError({ operation, device: name, code, detail });
    };
    checkLinkName(name, operation);
    if (mac !== undefined) macBytes(mac, operation, name);
    await this.#host.enter(operation, name);
    if (this.lacking.has(stacking.kind)) return refuse("ENOTSUP");
    const parent = this.#host.links.get(parentName);
    if (!parent) return refuse("ENODEV", `there is no link ${parentName}`);
    if (this.#host.links.has(name)) return refuse("EEXIST");
    if (mtu !== undefined && mtu > parent.mtu) return refuse("EINVAL");
    const problem = this.#conflict(parent, stacking);
    if (problem !== undefined) return refuse(problem);
    this.#host.step(`${operation} ${name}`);
    const inherits = stacking.kind !== "macvlan" || stacking.mode === "passthru";
    const link = this.#host.addLink({
      name,
      kind: stacking.kind,
      mac: mac?.toLowerCase() ?? (inherits ? parent.mac : randomMac()),
      mtu: mtu ?? parent.mtu,
      up,
      peer: parent.index,
      stacking,
      ...(spec.alias !== undefined && { alias: spec.alias }),
    });
    return describeLink(link);
  }

  async createDummy({ name, mtu = ETHERNET_MTU, alias, up = false }: DummySpec): Promise<Link> {
    const operation = "create dummy";
    checkLinkName(name, operation);
    await this.#host.enter(operation, name);
    if (this.#host.links.has(name)) throw new KernelError({ operation, device: name, code: "EEXIST" });
    this.#host.step(`${operation} ${name}`);
    const mark = alias === undefined ? {} : { alias };
    return describeLink(this.#host.addLink({ name, kind: "dummy", mac: randomMac(), mtu, up, ...mark }));
  }

  /** Whoever takes a parent's frames has them alone; VLANs take only what bears their tag. */
  #conflict(parent: FakeLink, stacking: Stacking): string | undefined {
    const siblings = this.#host.everyLink().filter((link) => link.stacking && link.peer === parent.index);
    if (stacking.kind === "vlan") {
      const same = siblings.some(
        ({ stacking: other }) =>
          other?.kind === "vlan" && other.id === stacking.id && other.protocol === stacking.protocol,
      );
      return same ? "EEXIST" : undefined;
    }
    if (parent.name === "lo") return "EINVAL";
    if (parent.master !== undefined) return "EBUSY";
    const rivals = siblings.flatMap(({ stacking: other }) => (other && other.kind !== "vlan" ? [other] : []));
    if (rivals.some(({ kind }) => kind !== stacking.kind)) return "EBUSY";
    const passthru = [...rivals, stacking].some((each) => each.kind === "macvlan" && each.mode === "passthru");
    return passthru && rivals.length > 0 ? "EINVAL" : undefined;
  }
}
