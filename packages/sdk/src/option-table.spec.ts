import { optionTable } from "./option-table.ts";
import { address, boolean, cidr, integer, linkName, list, macAddress, oneOf, path, text } from "./option-types.ts";
import type { OptionType } from "./option-types.ts";

const table = optionTable(
  {
    mtu: {
      keys: ["portolan.mtu", "com.docker.network.driver.mtu"],
      type: integer(68, 65535),
      defaultText: "the uplink's",
      help: "Largest packet.",
    },
    icc: { keys: ["portolan.icc"], type: boolean, default: true, help: "Containers reach each other." },
    mode: {
      keys: ["portolan.mode"],
      type: oneOf("nat", "routed"),
      default: "nat",
      help: "How packets leave: nat|routed.",
    },
  },
  { ownPrefixes: ["portolan."] },
);

test("gives typed values, defaults where nothing is said, and the others' options apart", () => {
  const { values, other } = table.parse({
    "portolan.icc": "False",
    "com.docker.network.driver.mtu": "1400",
    team: "blue",
  });
  const typed: { mtu?: number; icc: boolean; mode: "nat" | "routed" } = values;
  expect(typed).toEqual({ mtu: 1400, icc: false, mode: "nat" });
  expect(other).toEqual({ team: "blue" });
});

test("an option that is not given and has no default is absent", () => {
  expect(table.parse({}).values).not.toHaveProperty("mtu");
});

test.each<[string, Record<string, string>, string]>([
  [
    "a wrong value, with what is allowed",
    { "portolan.mtu": "9k" },
    'option "portolan.mtu": "9k" is not allowed. Give an integer from 68 to 65535.',
  ],
  [
    "an empty value",
    { "portolan.icc": "" },
    'option "portolan.icc": an empty value is not allowed. Give true or false.',
  ],
  [
    "an unknown key of ours, with the list",
    { "portolan.mtv": "1" },
    'option "portolan.mtv" is unknown. Allowed are portolan.mtu, portolan.icc, portolan.mode.',
  ],
  [
    "synonyms that contradict each other",
    { "portolan.mtu": "1400", "com.docker.network.driver.mtu": "1500" },
    'option "com.docker.network.driver.mtu": "1500" contradicts "portolan.mtu", which means the same and is "1400". Give one of them.',
  ],
])("refuses %s", (_what, options, message) => {
  expect(() => table.parse(options)).toThrow(message);
});

test("synonyms that agree are fine", () => {
  expect(table.parse({ "portolan.mtu": "1400", "com.docker.network.driver.mtu": "1400" }).values.mtu).toBe(1400);
});

test("makes the README's table", () => {
  expect(table.markdown().split("\n")).toEqual([
    "| option | value | default | meaning |",
    "| --- | --- | --- | --- |",
    "| `portolan.mtu`, `com.docker.network.driver.mtu` | an integer from 68 to 65535 | the uplink's | Largest packet. |",
    "| `portolan.icc` | true or false | `true` | Containers reach each other. |",
    "| `portolan.mode` | one of nat, routed | `nat` | How packets leave: nat\\|routed. |",
  ]);
});

test("a key declared twice is a mistake of the driver's author, told at once", () => {
  const twice = { keys: ["a"], type: text, help: "" } as const;
  expect(() => optionTable({ one: twice, two: twice }, { ownPrefixes: [] })).toThrow('"a" is declared twice');
});

test.each<[string, OptionType<unknown>, readonly [string, unknown][], readonly string[]]>([
  [
    "an integer",
    integer(-5, 5),
    [
      ["-5", -5],
      ["0", 0],
    ],
    ["6", "1.0", "1e0", "+1", " 1", "0x1", "", "NaN"],
  ],
  // Go's strconv.ParseBool, which Docker's own drivers use, takes exactly these.
  [
    "a boolean",
    boolean,
    [
      ["1", true],
      ["T", true],
      ["True", true],
      ["f", false],
      ["FALSE", false],
    ],
    ["yes", "on", "tRUE", ""],
  ],
  ["one of several", oneOf("a", "b"), [["b", "b"]], ["c", "A", ""]],
  [
    "an address",
    address(),
    [
      ["10.0.0.1", "10.0.0.1"],
      ["fd00::1", "fd00::1"],
    ],
    ["10.0.0.1/8", "10.0.0", "host", ""],
  ],
  ["an IPv4 address", address(4), [["10.0.0.1", "10.0.0.1"]], ["fd00::1"]],
  ["a MAC address", macAddress, [["02:42:0A:28:00:02", "02:42:0a:28:00:02"]], ["02:42", ""]],
  [
    "a device name",
    linkName,
    [["eth0.100", "eth0.100"]],
    ["a/b", "a b", "a".repeat(16), "é".repeat(8), "..", "eth0:1", ""],
  ],
  ["a path", path, [["/run/x.sock", "/run/x.sock"]], ["x.sock", "", "/a\0b"]],
  ["a text", text, [["x y", "x y"]], [""]],
  [
    "a list",
    list(integer(1, 9)),
    [
      ["1, 2,3", [1, 2, 3]],
      ["", []],
    ],
    ["1,,2", "1,x"],
  ],
])("%s", (_what, type, good, bad) => {
  expect(good.map(([given]) => type.parse(given))).toEqual(good.map(([, value]) => value));
  expect(bad.map((given) => type.parse(given))).toEqual(bad.map(() => undefined));
});

test("a subnet", () => {
  expect(String(cidr.parse("10.40.0.0/24"))).toBe("10.40.0.0/24");
  expect(cidr.parse("10.40.0.0")).toBeUndefined();
});
