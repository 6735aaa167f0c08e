// Which links of the host are bridges of Docker's built-in driver: our networks and those keep apart.

/** Those of Docker's that have no id in their names, and may be made at any time. */
const DOCKERS = ["docker0", "docker_gwbridge"];
/** Those that have; `br-*` might be the host's way to the LAN. */
const DOCKERS_WITH_ID = /^br-[0-9a-f]{12}$/;

/**
 * @param links the names of the host's links
 * @param inRules names that Docker's firewall rules treat as bridges of its own, which a user may have chosen
 * @returns in a constant order
 */
export function dockersAmong(links: readonly string[], inRules: readonly string[]): readonly string[] {
  const named = [...links.filter((name) => DOCKERS_WITH_ID.test(name)), ...inRules];
  return [...new Set([...DOCKERS, ...named.toSorted()])];
}
