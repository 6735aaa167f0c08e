// Which changes the accept rules ask for, on tables as iptables lists them.
import { planAccept, planRemoval, rulesFor, type FilterTable } from "./rules.ts";

const JUMP = "-j PORTOLAN-FORWARD";
const rules = rulesFor("pt-");
const table = (parts: Partial<FilterTable>): FilterTable => ({
  forward: [],
  dockerUser: undefined,
  ours: undefined,
  ...parts,
});

describe("the rules", () => {
  it("leave what passes between our links and Docker's to Docker, and accept the rest of ours", () => {
    expect(rules).toEqual([
      "-i pt-+ -o docker0 -j RETURN",
      "-i docker0 -o pt-+ -j RETURN",
      "-i pt-+ -o docker_gwbridge -j RETURN",
      "-i docker_gwbridge -o pt-+ -j RETURN",
      "-i pt-+ -o br-+ -j RETURN",
      "-i br-+ -o pt-+ -j RETURN",
      "-i pt-+ -j ACCEPT",
      "-o pt-+ -j ACCEPT",
    ]);
  });

  it("hold for links with names of their own, too", () => {
    const more = rulesFor("pt-", ["web"]).filter((rule) => !rules.includes(rule));
    expect(more).toEqual([
      "-i web -o docker0 -j RETURN",
      "-i docker0 -o web -j RETURN",
      "-i web -o docker_gwbridge -j RETURN",
      "-i docker_gwbridge -o web -j RETURN",
      "-i web -o br-+ -j RETURN",
      "-i br-+ -o web -j RETURN",
      "-i web -j ACCEPT",
      "-o web -j ACCEPT",
    ]);
  });

  it("accept what passes between ours before a name that looks like Docker's is taken for one", () => {
    const named = rulesFor("pt-", ["br-web"]);
    const first = (rule: string) => named.indexOf(rule);
    for (const [one, other] of [
      ["br-web", "br-web"],
      ["br-web", "pt-+"],
      ["pt-+", "br-web"],
    ]) {
      expect(first(`-i ${one} -o ${other} -j ACCEPT`)).toBeGreaterThanOrEqual(0);
      expect(first(`-i ${one} -o ${other} -j ACCEPT`)).toBeLessThan(first(`-i pt-+ -o br-+ -j RETURN`));
    }
    expect(named).toContain("-i br-web -o br-+ -j RETURN");
  });
});

describe("without Docker", () => {
  it("a new chain is called first in FORWARD", () => {
    const change = planAccept(table({ forward: ["-j OTHER"] }), rules);
    expect(change).toEqual({ refill: rules, insert: { chain: "FORWARD", before: 0 }, take: [], drop: false });
  });

  it("nothing changes once it is called, wherever in FORWARD", () => {
    expect(planAccept(table({ forward: ["-j OTHER", JUMP], ours: rules }), rules)).toBeUndefined();
  });
});

describe("with Docker", () => {
  it("the call moves from FORWARD to DOCKER-USER", () => {
    const before = table({ forward: ["-j DOCKER-USER", JUMP], dockerUser: [], ours: rules });
    const take = [{ chain: "FORWARD", number: 1 }];
    expect(planAccept(before, rules)).toEqual({ insert: { chain: "DOCKER-USER", before: 0 }, take, drop: false });
  });

  it("the call stands behind what the administrator wrote, and before Docker's RETURN", () => {
    const dockerUser = ["-s 192.0.2.0/24 -j DROP", "-j RETURN"];
    const change = planAccept(table({ dockerUser, ours: rules }), rules);
    expect(change?.insert).toEqual({ chain: "DOCKER-USER", before: 1 });
  });

  it("a call behind the RETURN is never reached, so it moves before it", () => {
    const change = planAccept(table({ dockerUser: ["-j RETURN", JUMP], ours: rules }), rules);
    expect(change).toMatchObject({ insert: { before: 0 }, take: [{ chain: "DOCKER-USER", number: 1 }] });
  });

  it("one call is enough", () => {
    const change = planAccept(table({ dockerUser: [JUMP, JUMP], ours: rules }), rules);
    expect(change).toEqual({ take: [{ chain: "DOCKER-USER", number: 1 }], drop: false });
  });
});

describe("our chain", () => {
  it.each([
    ["is missing a rule", rules.slice(1)],
    ["has another's rule", ["?", ...rules]],
    ["is in another order", rules.toReversed()],
    ["is for another prefix", rulesFor("px-")],
    ["is empty", []],
  ])("is written anew when it %s", (_, ours) => {
    const change = planAccept(table({ forward: [JUMP], ours }), rules);
    expect(change).toEqual({ refill: rules, take: [], drop: false });
  });

  it("is removed with every call of it", () => {
    const change = planRemoval(table({ forward: ["?", JUMP], dockerUser: [JUMP, "-j RETURN"], ours: rules }));
    const take = [
      { chain: "FORWARD", number: 1 },
      { chain: "DOCKER-USER", number: 0 },
    ];
    expect(change).toEqual({ take, drop: true });
    expect(planRemoval(table({ forward: ["-j DOCKER-USER"], dockerUser: [] }))).toBeUndefined();
  });
});
