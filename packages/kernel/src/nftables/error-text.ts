// Reads libnftables' reports: which errno, in which words, about which part of the commands.
import { errorTexts } from "../libc.ts";

export interface Report {
  /** EINVAL when no errno is named: a syntax error, as a rule. */
  readonly code: string;
  readonly detail: string;
}

let codes: ReadonlyMap<string, string> | undefined;

/**
 * A report is a line `Error: Could not process rule: File exists`, the command, and arrows under the part that is meant; one
 * after the other. The first is the one that counts. When there are several lines of commands the library (1.0.6) shows the
 * first of them, whichever it means, so that its arrows tell nothing.
 */
export function readReport(text: string, commands: string): Report {
  const lines = text.split("\n");
  const at = lines.findIndex((line) => /\bError: /.test(line));
  const sentence = (lines[at] ?? text).replace(/^.*?\bError: /, "").trim();
  const isOneLine = !commands.trim().includes("\n");
  const part = isOneLine ? pointedAt(lines[at + 1] ?? "", lines[at + 2] ?? "") : "";
  return { code: codeOf(sentence), detail: part === "" ? sentence : `${sentence}, at "${part}"` };
}

/** The sentence is strerror's, after a colon or alone, and before a remark: `; did you mean …`, ` (you must be root)`. */
function codeOf(sentence: string): string {
  codes ??= errorTexts();
  const words = sentence.replace(/;.*| \(.*\)$/g, "");
  return codes.get(words) ?? codes.get(words.replace(/^.*: /, "")) ?? "EINVAL";
}

function pointedAt(command: string, arrows: string): string {
  if (!/^[\s^~]*\^[\s^~]*$/.test(arrows)) return "";
  return command.slice(arrows.search(/[\^~]/), arrows.trimEnd().length).trim();
}
