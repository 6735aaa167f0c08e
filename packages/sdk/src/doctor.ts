// The frame of `ts-… doctor`: checks of the host, what they find, and the command that mends each.
import type { Command } from "./commands.ts";
import { PluginError } from "./plugin-error.ts";
import type { CommonSettings } from "./settings.ts";

export interface Finding {
  /** `problem`: something does not work, or will not. `note`: works, but may not be what is wanted. */
  readonly level: "problem" | "note";
  /** One sentence without a full stop. */
  readonly found: string;
  /** A command for a shell. */
  readonly mend: string;
}

export interface Check {
  /** What it looks at, in a word or two. */
  readonly name: string;
  /** Changes nothing. What it throws is a finding, too. */
  readonly look: () => Promise<readonly Finding[]>;
}

export interface Examination {
  readonly checked: readonly string[];
  readonly findings: readonly (Finding & { readonly check: string })[];
}

/** One check that fails does not keep the others from theirs. */
export async function examine(checks: readonly Check[]): Promise<Examination> {
  const findings: Examination["findings"][number][] = [];
  for (const { name, look } of checks) {
    const found = await look().catch((error: unknown): readonly Finding[] => [
      {
        level: "problem",
        found: `could not look: ${PluginError.from(error).message}`,
        mend: "id -u # 0? Only root sees all of a host's network",
      },
    ]);
    findings.push(...found.map((finding) => ({ check: name, ...finding })));
  }
  return { checked: checks.map(({ name }) => name), findings };
}

function examinationText({ checked, findings }: Examination): string {
  const lines = findings.map(({ check, level, found, mend }) => `${level}: ${check}: ${found}\n    ${mend}`);
  const looked = `Looked at ${checked.join(", ")}.`;
  return [...lines, findings.length === 0 ? `${looked} Nothing is wrong.` : looked].join("\n");
}

/**
 * A command that works whether the driver runs or not.
 * @param open the checks; what they need is held until they are through
 */
export function doctor(
  open: (settings: CommonSettings, examine: (checks: readonly Check[]) => Promise<void>) => Promise<void>,
): Command {
  return {
    summary: "Checks the host and prints what is wrong, each with the command that mends it.",
    flags: { json: "Print JSON." },
    async run({ settings, flags, print }) {
      let problems = 0;
      await open(settings, async (checks) => {
        const examination = await examine(checks);
        print(flags.has("json") ? JSON.stringify(examination, null, 2) : examinationText(examination));
        problems = examination.findings.filter(({ level }) => level === "problem").length;
      });
      if (problems > 0) throw new PluginError(problems === 1 ? "there is a problem" : `there are ${problems} problems`);
    },
  };
}
