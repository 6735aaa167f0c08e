// Generic netlink: messages of many families on one protocol, whose numbers the kernel gives as they come.
import { parseAttributes } from "netlink";
import { isKernelError } from "../kernel-error.ts";
import { attribute } from "../netlink-attribute.ts";
import type { Request, Requests } from "../rtnetlink/requests.ts";

const GENL_ID_CTRL = 16;
const CTRL_CMD_GETFAMILY = 3;
const CTRL_ATTR_FAMILY_ID = 1;
const CTRL_ATTR_FAMILY_NAME = 2;
const VERSION = 1;
/** struct genlmsghdr: command, version, two reserved bytes. */
export const GENERIC_HEADER_LENGTH = 4;

export const genericMessage = (command: number, attributes: Buffer) =>
  Buffer.concat([Buffer.from([command, VERSION, 0, 0]), attributes]);

/**
 * Asking may load the module that has the family.
 * @param requests on a socket of NETLINK_GENERIC
 * @returns undefined when this kernel has no such family @throws KernelError
 */
export async function genericFamily(
  requests: Requests,
  name: string,
  asked: Pick<Request, "operation" | "device">,
): Promise<number | undefined> {
  const payload = genericMessage(CTRL_CMD_GETFAMILY, attribute(CTRL_ATTR_FAMILY_NAME, Buffer.from(`${name}\0`)));
  let family: number | undefined;
  try {
    const [answer] = await requests.send({ ...asked, type: GENL_ID_CTRL, payload });
    parseAttributes(answer?.subarray(GENERIC_HEADER_LENGTH) ?? Buffer.alloc(0), ({ type, data }) => {
      if (type === CTRL_ATTR_FAMILY_ID) family = data.readUInt16LE();
    });
  } catch (error) {
    if (!isKernelError(error, "ENOENT")) throw error;
  }
  return family;
}
