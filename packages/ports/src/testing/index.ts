// For the tests of drivers that publish ports.
export { bindings } from "./bindings.ts";
