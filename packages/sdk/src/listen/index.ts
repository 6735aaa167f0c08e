// The ways to be reached by dockerd: `listen.unix(...)`, `listen.managed(...)` and so on.
export { from } from "./from.ts";
export { managed } from "./managed.ts";
export { systemd } from "./systemd.ts";
export { tcp } from "./tcp.ts";
export { unix } from "./unix.ts";
