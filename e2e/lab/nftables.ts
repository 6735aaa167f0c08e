// The text of `nft list ruleset` as one sentence a rule, a property or an element.

/** iptables-nft keeps its rules in tables of these names; iptables-save shows them better. */
const IPTABLES = /^table (ip|ip6) (filter|nat|mangle|raw|security)$/;

/** For example "table inet portolan, chain forward: ct state established accept". */
export function rulesetFacts(text: string): string[] {
  const facts: string[] = [];
  const where: string[] = [];
  let inElements = false;
  for (const line of text.split("\n").map((raw) => raw.trim())) {
    if (line === "" || line.startsWith("#")) continue;
    inElements ||= line.startsWith("elements = {");
    if (inElements) {
      const elements = line.replace("elements = {", "").replace(/\}$/, "").split(",");
      facts.push(
        ...elements.filter((element) => element.trim()).map((element) => fact(where, `element ${element.trim()}`)),
      );
      inElements = !line.endsWith("}");
    } else if (line.endsWith("{")) {
      where.push(line.slice(0, -1).trim());
      facts.push(where.join(", "));
    } else if (line === "}") {
      where.pop();
    } else {
      facts.push(fact(where, line));
    }
  }
  return facts.filter((sentence) => !IPTABLES.test(sentence.split(/[,:]/)[0] ?? ""));
}

function fact(where: readonly string[], what: string): string {
  return `${where.join(", ")}: ${what}`;
}
