/** Words for what the API says in codes and numbers. */

const STAGES: Record<string, string> = {
  parsing: "Reading the file",
  chunking: "Cutting into passages",
  embedding: "Embedding",
  indexing: "Storing",
  removing: "Removing",
  building: "Building the new index",
};

/** What a job does in a stage; a stage this page does not know is shown by its own name. */
export function stageOf(stage: string | null): string {
  if (stage === null || stage === "") return "Working";
  return STAGES[stage] ?? capitalized(stage.replaceAll("_", " "));
}

const REASONS: Record<string, string> = {
  insufficient_evidence: "No passage says enough about this.",
  interrupted: "The server was restarted while it was answering. Ask again.",
};

/** Why an answer was refused or failed: a sentence is kept, a code is put into words. */
export function reasonOf(reason: string | null): string | null {
  if (reason === null || reason === "") return null;
  return REASONS[reason] ?? (reason.includes(" ") ? reason : capitalized(`${reason.replaceAll("_", " ")}.`));
}

const UNITS = ["bytes", "kB", "MB", "GB"] as const;

/** A number of bytes for a reader: three digits at most, in powers of 1,000. */
export function sizeOf(bytes: number): string {
  if (bytes < 1000) return counted(bytes, "byte");
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = value < 10 ? 1 : 0;
  return `${value.toFixed(digits)} ${UNITS[unit] ?? ""}`;
}

/** "1 sentence", "2 sentences". */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
