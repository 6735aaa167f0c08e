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

describe("links beside ours", () => {
  const more = (dockers: string[], others: string[]) => rulesFor("pt-", [], { dockers, others });

  it("are Docker's when its rules say so, whatever they are called", () => {
    const added = more(["custom0", "br-0123456789ab", "docker0"], ["eth0"]).filter((rule) => !rules.includes(rule));
    expect(added).toEqual(["-i pt-+ -o custom0 -j RETURN", "-i custom0 -o pt-+ -j RETURN"]);
  });

  it("are let through although their names begin as Docker's do", () => {
    const all = more([], ["br-lan", "eth0"]);
    expect(all).toEqual(["-i pt-+ -o br-lan -j ACCEPT", "-i br-lan -o pt-+ -j ACCEPT", ...rules]);
  });
});

describe("without Docker", () => {
  it("a new chain is called first in FORWARD", () => {
    const change = planAccept(table({ forward: ["-j OTHER"] }), rules);
    expect(change).toEqual({ refill: rules, insert: [{ chain: "FORWARD", before: 0 }], take: [], drop: false });
  });

  it("nothing changes once it is called, wherever in FORWARD", () => {
    expect(planAccept(table({ forward: ["-j OTHER", JUMP], ours: rules }), rules)).toBeUndefined();
  });
});

describe("with Docker", () => {
  const forward = ["-j DOCKER-USER", "-j DOCKER-FORWARD", JUMP];

  it("one call is in DOCKER-USER, and one behind Docker's call of it, for when Docker takes that out", () => {
    const before = table({ forward: forward.slice(0, 2), dockerUser: [], ours: rules });
    const insert = [
      { chain: "DOCKER-USER", before: 0 },
      { chain: "FORWARD", before: 2 },
    ];
    expect(planAccept(before, rules)).toEqual({ insert, take: [], drop: false });
    expect(planAccept(table({ forward, dockerUser: [JUMP], ours: rules }), rules)).toBeUndefined();
  });

  it("the call that was in FORWARD before Docker came is the second one", () => {
    const before = table({ forward: ["-j DOCKER-USER", JUMP, "-j DOCKER-FORWARD"], dockerUser: [], ours: rules });
    const insert = [{ chain: "DOCKER-USER", before: 0 }];
    expect(planAccept(before, rules)).toEqual({ insert, take: [], drop: false });
  });

  it("no call stands before DOCKER-USER, where the administrator's rules would be too late", () => {
    const before = table({ forward: [JUMP, "-j DOCKER-USER"], dockerUser: [JUMP], ours: rules });
    const insert = [{ chain: "FORWARD", before: 2 }];
    const take = [{ chain: "FORWARD", number: 0 }];
    expect(planAccept(before, rules)).toEqual({ insert, take, drop: false });
  });

  it("nothing changes while Docker has taken its call out", () => {
    const before = table({ forward: forward.slice(1), dockerUser: [JUMP], ours: rules });
    expect(planAccept(before, rules)).toBeUndefined();
  });

  it("the call stands behind what the administrator wrote, and before Docker's RETURN", () => {
    const dockerUser = ["-s 192.0.2.0/24 -j DROP", "-j RETURN"];
    const change = planAccept(table({ forward, dockerUser, ours: rules }), rules);
    expect(change?.insert).toEqual([{ chain: "DOCKER-USER", before: 1 }]);
  });

  it("a call behind the RETURN is never reached, so it moves before it", () => {
    const change = planAccept(table({ forward, dockerUser: ["-j RETURN", JUMP], ours: rules }), rules);
    expect(change).toMatchObject({ insert: [{ before: 0 }], take: [{ chain: "DOCKER-USER", number: 1 }] });
  });

  it("one call a chain is enough", () => {
    const change = planAccept(table({ forward: [...forward, JUMP], dockerUser: [JUMP, JUMP], ours: rules }), rules);
    const take = [
      { chain: "FORWARD", number: 3 },
      { chain: "DOCKER-USER", number: 1 },
    ];
    expect(change).toEqual({ insert: [], take, drop: false });
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
    expect(change).toEqual({ refill: rules, insert: [], take: [], drop: false });
  });

  it("is removed with every call of it", () => {
    const change = planRemoval(table({ forward: ["?", JUMP], dockerUser: [JUMP, "-j RETURN"], ours: rules }));
    const take = [
      { chain: "FORWARD", number: 1 },
      { chain: "DOCKER-USER", number: 0 },
    ];
    expect(change).toEqual({ insert: [], take, drop: true });
    expect(planRemoval(table({ forward: ["-j DOCKER-USER"], dockerUser: [] }))).toBeUndefined();
  });
});
