// Completions for bash, zsh and fish: commands, flags, and files where a flag wants one.
import type { Help, HelpFlag } from "./help.ts";

const isFile = ({ value }: HelpFlag): boolean => ["PATH", "DIR", "FILE"].includes(value);
const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

const own = ({ commands }: Help): readonly HelpFlag[] => [
  ...new Map(commands.flatMap(({ flags }) => flags.map((flag) => [flag.flag, flag] as const))).values(),
];

function bash(help: Help): string {
  const { name, commands, flags } = help;
  const all = [...flags, ...own(help)];
  const files = flags.filter(isFile).map(({ flag }) => flag);
  const others = flags.filter((flag) => flag.value !== "" && !isFile(flag)).map(({ flag }) => flag);
  const words = [...commands.map((command) => command.name), ...all.map(({ flag }) => flag)].join(" ");
  return `# bash completion for ${name}
_${name.replaceAll("-", "_")}() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD - 1]}
  case $before in
  ${files.join(" | ")}) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
  ${others.join(" | ")}) COMPREPLY=() ;;
  *) mapfile -t COMPREPLY < <(compgen -W ${quoted(words)} -- "$word") ;;
  esac
}
complete -o filenames -F _${name.replaceAll("-", "_")} ${name}
`;
}

function zsh(help: Help): string {
  const escaped = (text: string): string => text.replaceAll(/[[\]:\\]/g, "\\$&");
  const rows = [...help.flags, ...own(help)].map((flag) => {
    const value = flag.value === "" ? "" : `:${flag.value}:${isFile(flag) ? "_files" : ""}`;
    return `  ${quoted(`${flag.flag}[${escaped(flag.text)}]${value}`)} \\`;
  });
  const commands = help.commands.map(({ name, text }) => quoted(`${name}:${escaped(text)}`)).join(" ");
  return `#compdef ${help.name}
local -a commands=(${commands})
_arguments \\
${rows.join("\n")}
  "1:command:{_describe command commands}"
`;
}

function fish(help: Help): string {
  const { name, commands } = help;
  const flag = (each: HelpFlag): string => {
    const value = each.value === "" ? "" : isFile(each) ? " -r -F" : " -x";
    return `complete -c ${name} -l ${each.flag.replace(/^--/, "")}${value} -d ${quoted(each.text)}`;
  };
  return [
    `# fish completion for ${name}`,
    `complete -c ${name} -f`,
    ...commands.map((each) => `complete -c ${name} -n __fish_use_subcommand -a ${each.name} -d ${quoted(each.text)}`),
    ...[...help.flags, ...own(help)].map(flag),
    "",
  ].join("\n");
}

/** By their paths below the prefix. */
export function completions(help: Help): Readonly<Record<string, string>> {
  return {
    [`share/bash-completion/completions/${help.name}`]: bash(help),
    [`share/zsh/vendor-completions/_${help.name}`]: zsh(help),
    [`share/fish/vendor_completions.d/${help.name}.fish`]: fish(help),
  };
}
