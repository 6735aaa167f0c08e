// What a README tells of a driver's options, to be held against the tables in the code.

/** @param heading with its `#`s @returns the rows of the section's tables, up to the next heading */
export function tableUnder(readme: string, heading: string): readonly string[] {
  const [, after = ""] = readme.split(`\n${heading}\n`);
  return tableRows(after.split(/\n#+ /)[0] ?? "");
}

/** Cells only: how wide a column is drawn is the formatter's business. */
export function tableRows(markdown: string): readonly string[] {
  return markdown
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .map((line) => line.replaceAll(/ +/g, " ").replaceAll(/-+/g, "-"));
}
