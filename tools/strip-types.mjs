// A jest transformer: TypeScript to JavaScript by blanking out the types, as Node itself does it.
import { stripTypeScriptTypes } from "node:module";

export default {
  process: (source) => ({ code: stripTypeScriptTypes(source) }),
};
