// Sockets that systemd opened for us (sd_listen_fds(3)).
import { PluginError } from "../plugin-error.ts";
import { listening, type Listener } from "./listener.ts";

const FIRST_FD = 3;

export interface SystemdOptions {
  /** Take the socket of this name (`FileDescriptorName=` in the .socket unit). Default: the only one there is. */
  readonly name?: string;
  /** For tests. */
  readonly environment?: NodeJS.ProcessEnv;
}

/** Whether systemd handed sockets to this very process. */
export function isSocketActivated(environment: NodeJS.ProcessEnv = process.env): boolean {
  return environment.LISTEN_PID === String(process.pid) && Number(environment.LISTEN_FDS) > 0;
}

/**
 * Listens on an inherited socket. The socket file belongs to systemd and stays at close. The variables are taken out of
 * the environment, so that no child believes they are meant for it.
 *
 * @throws PluginError, listing what was handed over, when there is no such socket or it is not clear which
 */
export function systemd(options: SystemdOptions = {}): Listener {
  return {
    async open(server) {
      const { fd, name } = inherited(options.environment ?? process.env, options.name);
      await listening(server, () => server.listen({ fd }));
      return { address: `systemd:${name}`, release: () => Promise.resolve() };
    },
  };
}

function inherited(environment: NodeJS.ProcessEnv, wanted: string | undefined): { fd: number; name: string } {
  const { LISTEN_PID: pid, LISTEN_FDS: count, LISTEN_FDNAMES: names } = environment;
  if (!isSocketActivated(environment)) {
    throw new PluginError(
      `no socket from systemd: LISTEN_PID is ${pid ?? "unset"} in process ${process.pid}, LISTEN_FDS is ${count ?? "unset"}`,
      { hint: "Start the plugin through its .socket unit." },
    );
  }
  for (const name of ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"]) Reflect.deleteProperty(environment, name);
  const given = names?.split(":") ?? [];
  const sockets = Array.from({ length: Number(count) }, (_, index) => given[index] ?? "unknown");
  const matching = wanted === undefined ? sockets : sockets.filter((name) => name === wanted);
  const [name] = matching;
  if (name === undefined || matching.length > 1) {
    const which = wanted === undefined ? "exactly one socket" : `exactly one socket named "${wanted}"`;
    throw new PluginError(`systemd handed over ${sockets.join(", ")} where ${which} is needed`, {
      hint: "Set FileDescriptorName= in the .socket unit, one unit a socket.",
    });
  }
  return { fd: FIRST_FD + sockets.indexOf(name), name };
}
