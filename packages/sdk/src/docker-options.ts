// Options that Docker's own drivers have under keys of their own, read as Docker reads them and refused in its words.
import { boolean, integer, type OptionType } from "./option-types.ts";
import { PluginError } from "./plugin-error.ts";

const MTU = "com.docker.network.driver.mtu";

/** 0 leaves it to the kernel, as with the built-in bridge driver. */
const mtu: OptionType<number> = {
  allowed: "an integer from 68 to 65535",
  parse: (text) => (text === "0" ? 0 : integer(68, 65535).parse(text)),
};

const interfacePrefix: OptionType<string> = {
  // Linux takes 15 bytes, and a number follows.
  allowed: "1 to 12 letters, digits, dots, dashes or underscores",
  parse: (text) => (/^[\w.-]{0,12}$/.test(text) && !text.startsWith(".") ? text : undefined),
};

/** Why Go could not read a text, in the words that Docker passes on. */
const goReasons = {
  boolean: (text: string) => `strconv.ParseBool: parsing ${JSON.stringify(text)}: invalid syntax`,
  integer: (text: string) => `strconv.Atoi: parsing ${JSON.stringify(text)}: invalid syntax`,
};

/**
 * The key and the type of an option for a table. A value that can't be read is refused with Docker's sentence, which users
 * search for, and then what is allowed.
 */
export function dockerOption<T>(key: string, type: OptionType<T>, reason: (text: string) => string) {
  return checked(key, type, (text) => `failed to parse ${key} value: ${text} (${reason(text)})`);
}

/** As `dockerOption`, for what Go's strconv.ParseBool reads. */
export const dockerBoolean = (key: string) => dockerOption(key, boolean, goReasons.boolean);

/** `com.docker.network.driver.mtu`, in bytes. */
export const dockerMtu = checked(MTU, mtu, (text) => {
  if (!/^-?\d+$/.test(text)) return `failed to parse ${MTU} value: ${text} (${goReasons.integer(text)})`;
  return text.startsWith("-") ? `invalid MTU number: ${text}` : `option "${MTU}": "${text}" is not allowed`;
});

/** `com.docker.network.container_iface_prefix`: what the names of interfaces in containers begin with. */
export const dockerInterfacePrefix = {
  keys: ["com.docker.network.container_iface_prefix"] as [string],
  type: interfacePrefix,
};

function checked<T>(key: string, type: OptionType<T>, sentence: (text: string) => string) {
  const parse = (text: string): T => {
    const value = type.parse(text);
    if (value !== undefined) return value;
    throw new PluginError(sentence(text), { hint: `Give ${type.allowed}.` });
  };
  return { keys: [key] as [string], type: { allowed: type.allowed, parse } };
}
