// The one error: what it reads like, and what programs find in it.
import { errorCode, isKernelError, KernelError } from "./kernel-error.ts";

describe("a KernelError", () => {
  it("says what was attempted on what, the code, and the kernel's words", () => {
    const error = new KernelError({
      operation: "create bridge",
      device: "pt-a",
      code: "EINVAL",
      detail: "mtu too large",
    });
    expect(error.message).toBe("create bridge pt-a: EINVAL: mtu too large");
    expect(error).toMatchObject({ name: "KernelError", operation: "create bridge", device: "pt-a", errno: -22 });
  });

  it("explains the code when the kernel had no words", () => {
    expect(new KernelError({ operation: "list links", code: "EPERM" }).message).toBe(
      "list links: EPERM: operation not permitted",
    );
  });

  it("knows the code of a bridge without a free port, which Node has no name for", () => {
    expect(new KernelError({ operation: "create veth", device: "pv", code: errorCode(54) })).toMatchObject({
      message: "create veth pv: EXFULL: no room left",
      errno: -54,
    });
  });

  it("is told from others by its code", () => {
    const error = new KernelError({ operation: "x", code: "EEXIST" });
    expect(isKernelError(error)).toBe(true);
    expect(isKernelError(error, "ENOENT", "EEXIST")).toBe(true);
    expect(isKernelError(error, "ENOENT")).toBe(false);
    expect(isKernelError(Object.assign(new Error("x"), { code: "EEXIST" }), "EEXIST")).toBe(false);
  });
});
