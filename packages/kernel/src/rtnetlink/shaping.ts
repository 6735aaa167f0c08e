// Limits by token buckets: on the link for what it sends, on an ifb that its packets pass for what it receives.
import { FlagsNew, rt } from "netlink";
import { isKernelError, KernelError } from "../kernel-error.ts";
import type { Link } from "../kernel.ts";
import { checkLinkName } from "../link-name.ts";
import type { Limits, Rate, Shaping } from "../shaping.ts";
import { encodeLink } from "./link-message.ts";
import type { RtLinks } from "./links.ts";
import type { Requests } from "./requests.ts";
import {
  encodeFilterQuery,
  encodeIngress,
  encodeRedirect,
  encodeTokenBucket,
  GETTFILTER,
  isRedirect,
  NEWQDISC,
  NEWTFILTER,
} from "./traffic-control.ts";

interface Helper {
  readonly name: string;
  readonly alias?: string;
}

const PUT = FlagsNew.CREATE | FlagsNew.REPLACE;

export class RtShaping implements Shaping {
  readonly #requests: Requests;
  readonly #links: RtLinks;

  constructor(requests: Requests, links: RtLinks) {
    this.#requests = requests;
    this.#links = links;
  }

  async limit(link: string, { sent, received }: Limits, helper: Helper): Promise<void> {
    const operation = "limit";
    const { index } = await this.#links.find(link, operation);
    if (sent) await this.#tokenBucket(link, index, sent);
    if (!received) return;
    const ifb = await this.#ifb(helper);
    // The bucket is there before the first packet is led to it.
    await this.#tokenBucket(helper.name, ifb.index, received);
    try {
      const flags = FlagsNew.CREATE | FlagsNew.EXCL;
      await this.#send("sch_ingress", link, NEWQDISC, flags, encodeIngress(index));
    } catch (error) {
      if (!isKernelError(error, "EEXIST")) throw error;
    }
    await this.#send("cls_u32 and act_mirred", link, NEWTFILTER, PUT, encodeRedirect(index, ifb.index));
  }

  async isLed(link: string): Promise<boolean> {
    const found = await this.#links.get(link);
    if (!found) return false;
    const payload = encodeFilterQuery(found.index);
    const filters = await this.#requests.dump({
      operation: "list filters of",
      device: link,
      type: GETTFILTER,
      payload,
    });
    return filters.some(isRedirect);
  }

  #tokenBucket(link: string, index: number, rate: Rate): Promise<void> {
    return this.#send("sch_tbf", link, NEWQDISC, PUT, encodeTokenBucket(index, rate));
  }

  async #ifb({ name, alias }: Helper): Promise<Link> {
    checkLinkName(name, "create ifb");
    const found = await this.#links.get(name);
    if (!found) {
      const payload = encodeLink({ name, up: true, kind: { kind: "ifb" } });
      await this.#send("ifb", name, rt.MessageType.NEWLINK, FlagsNew.CREATE | FlagsNew.EXCL, payload, "create ifb");
    } else if (found.kind !== "ifb") {
      throw new KernelError({ operation: "create ifb", device: name, code: "EEXIST" });
    }
    if (found?.up !== true || found.alias !== alias)
      await this.#links.change(name, { up: true, ...(alias !== undefined && { alias }) });
    return this.#links.find(name, "create ifb");
  }

  async #send(
    module: string,
    device: string,
    type: number,
    flags: number,
    payload: Buffer,
    operation = "limit",
  ): Promise<void> {
    try {
      await this.#requests.send({ operation, device, type, flags, payload });
    } catch (error) {
      if (!isKernelError(error, "ENOENT", "ENOTSUP")) throw error;
      const detail = `this kernel cannot do it${error.detail === undefined ? "" : ` (${error.detail})`}; try modprobe ${module}`;
      throw new KernelError({ operation, device, code: error.code, detail, cause: error });
    }
  }
}
