import { PluginError } from "./plugin-error.ts";

const NETWORK = "0123456789abcdef".repeat(4);

test("reads: what was tried, on what, the problem, its cause, what to do", () => {
  const error = new PluginError("cannot create link ve0", {
    op: "create endpoint",
    subject: NETWORK,
    hint: "Load the module veth.",
    cause: new Error("EOPNOTSUPP: Unknown device type."),
  });
  expect(error.message).toBe(
    "create endpoint 0123456789ab: cannot create link ve0: EOPNOTSUPP: Unknown device type. Load the module veth.",
  );
});

test("a subject that is no id stays whole", () => {
  expect(new PluginError("is down", { subject: "eth0.100-uplink" }).message).toBe("eth0.100-uplink: is down");
});

describe("from", () => {
  test("fills in what the error does not say of itself", () => {
    const own = new PluginError("is full", { subject: "pool 10.0.0.0/24", hint: "Remove a container." });
    expect(PluginError.from(own, { op: "request address", subject: "p1" }).message).toBe(
      "request address pool 10.0.0.0/24: is full. Remove a container.",
    );
  });

  test("keeps what the error says of its cause, once", () => {
    const own = new PluginError("cannot read it", { cause: new Error("EIO") });
    expect(PluginError.from(PluginError.from(own)).message).toBe("cannot read it: EIO");
  });

  test.each<[unknown, string]>([
    [new TypeError("x is not a function"), "x is not a function"],
    [new Error(""), "Error"],
    ["gone", "gone"],
    [undefined, "an error without a message was thrown"],
    [{ message: 5 }, "an error without a message was thrown"],
    [Object.create(null), "an error without a message was thrown"],
  ])("makes an error of whatever was thrown", (thrown, message) => {
    expect(PluginError.from(thrown).message).toBe(message);
  });

  test("keeps the stack of the first error as its cause", () => {
    const origin = new Error("no");
    expect(PluginError.from(origin).cause).toBe(origin);
  });
});
