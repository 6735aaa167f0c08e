// A driver's manual page, in section 8 as is usual for what root runs.
import type { Help, HelpFlag } from "./help.ts";

export const manualPath = (name: string): string => `share/man/man8/${name}.8`;

/** Nothing in running text may be taken for a request or an escape. */
function roff(text: string): string {
  return text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replaceAll(/^([.'])/gm, "\\&$1");
}

function flagItem({ flag, value, variable, text }: HelpFlag): string {
  const told = value === "" ? `\\fB${roff(flag)}\\fR` : `\\fB${roff(flag)}\\fR \\fI${roff(value)}\\fR`;
  const stead = variable === "" ? "" : `\nEnvironment: \\fB${roff(variable)}\\fR.`;
  return `.TP\n${told}\n${roff(text)}${stead}`;
}

export function manual({ name, summary, commands, flags }: Help, version: string): string {
  const synopsis = commands.map((command) => {
    const operands = command.operands === "" ? "" : ` \\fI${roff(command.operands)}\\fR`;
    const own = command.flags.map(({ flag }) => ` [\\fB${roff(flag)}\\fR]`).join("");
    return `.br\n\\fB${roff(name)} ${roff(command.name)}\\fR${operands}${own}`;
  });
  const descriptions = commands.map(
    (command) =>
      `.TP\n\\fB${roff(command.name)}\\fR \\fI${roff(command.operands)}\\fR\n${roff(command.text)}\n` +
      command.flags.map((flag) => `.RS\n${flagItem(flag)}\n.RE\n`).join(""),
  );
  return `.TH ${name.toUpperCase().replaceAll("-", "\\-")} 8 "" "Portolan ${version}" "System Administration"
.SH NAME
${roff(name)} \\- ${roff(summary.replace(/\.$/, ""))}
.SH SYNOPSIS
\\fB${roff(name)}\\fR [\\fIflags\\fR]
${synopsis.join("\n")}
.SH DESCRIPTION
Serves dockerd on a Unix socket, as a plugin beside it. Under systemd, the socket unit of the same name listens before
dockerd starts.
${commands.length === 0 ? "" : `.SH COMMANDS\n${descriptions.join("")}`}.SH OPTIONS
${flags.map(flagItem).join("\n")}
.SH EXIT STATUS
0 after SIGTERM or SIGINT, 2 after bad usage or on a host that does not fit, 1 after any other failure.
.SH FILES
.TP
.I /etc/portolan/${roff(name)}.env
Environment variables for the unit, one a line.
.TP
.I /run/docker/plugins/${roff(name)}.sock
Where dockerd calls.
.TP
.I /var/lib/portolan/${roff(name)}
Networks, endpoints or addresses that were promised.
.SH SEE ALSO
.BR dockerd (8),
.BR docker\\-network (1)
`
    .replaceAll(/ \\fI\\fR/g, "")
    .replaceAll(/\n{2,}/g, "\n");
}
