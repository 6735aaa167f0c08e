// Addresses with prefix length: one spelling for each, a reason for what is none.
import fc from "fast-check";
import { parseCidr } from "./cidr.ts";
import { isKernelError } from "./kernel-error.ts";

const parse = (text: string) => parseCidr(text, "add address", "pt-a");

it.each([
  ["10.40.0.1/24", { address: "10.40.0.1", prefixLength: 24, text: "10.40.0.1/24" }],
  ["FD00:0:0::1/64", { address: "fd00::1", prefixLength: 64, text: "fd00::1/64" }],
  ["fd00:0:0:0:0:0:0:1/64", { address: "fd00::1", prefixLength: 64, text: "fd00::1/64" }],
  ["0x0a.0.0.1/8", undefined],
  ["10.1/8", undefined],
  [" 10.0.0.1/8", undefined],
  ["10.0.0.1/-1", undefined],
])("reads %p", (text, expected) => {
  if (expected) expect(parse(text)).toEqual(expected);
  else expect(() => parse(text)).toThrow("is not an address with a prefix length, as in 10.40.0.1/24 or fd00::1/64");
});

it("reads every address back from what it wrote, and answers anything else with EINVAL", () => {
  const octets = fc.array(fc.nat(255), { minLength: 4, maxLength: 4 });
  fc.assert(
    fc.property(octets, fc.nat(32), (address, length) => {
      expect(parse(`${address.join(".")}/${length}`).text).toBe(`${address.join(".")}/${length}`);
    }),
  );
  fc.assert(
    fc.property(fc.ipV6(), fc.nat(128), (address, length) => {
      const { text } = parse(`${address}/${length}`);
      expect(parse(text).text).toBe(text);
    }),
  );
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        parse(text);
      } catch (error) {
        if (!isKernelError(error, "EINVAL")) throw error;
      }
    }),
  );
});
