// What a driver tells with --help, as data: manual pages and completions are made of it, so that they cannot differ.

export interface HelpFlag {
  /** With its dashes. */
  readonly flag: string;
  /** `DIR` in `--state-dir DIR`; empty for a flag without a value. */
  readonly value: string;
  /** The environment variable that stands in for it; empty when there is none. */
  readonly variable: string;
  readonly text: string;
}

interface HelpCommand {
  readonly name: string;
  readonly operands: string;
  readonly text: string;
  readonly flags: readonly HelpFlag[];
}

export interface Help {
  readonly name: string;
  readonly summary: string;
  readonly commands: readonly HelpCommand[];
  readonly flags: readonly HelpFlag[];
}

const COMMANDS = "Without a command it serves dockerd. Commands:";
const FLAGS = "Flags, and the environment variables that stand in for them:";

/** @throws Error when the text is not as @portolan/sdk writes it */
export function parseHelp(text: string): Help {
  const [title = "", ...lines] = text.trimEnd().split("\n");
  const [, name, summary] = /^(\S+): (.+)$/.exec(title) ?? [];
  if (name === undefined || summary === undefined) throw new Error(`--help begins with ${JSON.stringify(title)}`);
  const commands: (HelpCommand & { flags: HelpFlag[] })[] = [];
  const flags: HelpFlag[] = [];
  let section = "";
  for (const line of lines) {
    if (line === COMMANDS || line === FLAGS || line === "") section = line;
    else if (section === FLAGS) flags.push(flagIn(line));
    else if (section !== COMMANDS) throw new Error(`--help has a line in no section: ${JSON.stringify(line)}`);
    else if (line.startsWith("    ")) commands.at(-1)?.flags.push(flagIn(line));
    else {
      const [words = "", told = ""] = cellsOf(line);
      const [command = "", ...operands] = words.split(" ");
      commands.push({ name: command, operands: operands.join(" "), text: told, flags: [] });
    }
  }
  if (flags.length === 0) throw new Error("--help lists no flags");
  return { name, summary, commands, flags };
}

/** Columns stand two spaces or more apart. */
function cellsOf(line: string): string[] {
  return line.trim().split(/ {2,}/);
}

function flagIn(line: string): HelpFlag {
  const [words = "", ...rest] = cellsOf(line);
  const [flag = "", value = ""] = words.split(" ");
  const [variable, text] = rest.length > 1 ? rest : ["", ...rest];
  return { flag, value, variable: variable ?? "", text: text ?? "" };
}
