/** Words for what the API says in codes and numbers. */

const STAGES: Record<string, string> = {
  parsing: "Reading the file",
  chunking: "Cutting into passages",
  embedding: "Embedding",
  indexing: "Storing",
  recognising: "Recognising scanned pages",
  listing: "Looking into the archive",
  unpacking: "Unpacking",
  fetching: "Fetching",
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

/** "1 sentence", "2,000 sentences". */
export function counted(count: number, noun: string): string {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

/** A length of time for a reader: "0.04 s", "12 s", "3 min 5 s". */
export function durationOf(seconds: number): string {
  if (seconds < 10) return `${Number(seconds.toFixed(seconds < 1 ? 2 : 1))} s`;
  const whole = Math.round(seconds);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

const DATE = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });

/** A moment, in the reader's own time: "26 Nov 2026, 14:03". */
export function momentOf(timestamp: string): string {
  return DATE.format(new Date(timestamp));
}

const LANGUAGES = new Intl.DisplayNames("en", { type: "language" });

/** The name of a language's ISO 639-1 code. */
export function languageOf(code: string): string {
  return LANGUAGES.of(code) ?? code;
}

/** "1, 2 and 3"; of more than ten, the last ones are only counted. */
export function listed(items: (string | number)[]): string {
  const shown = items.slice(0, items.length > 10 ? 8 : 10).map(String);
  if (shown.length < items.length) return `${shown.join(", ")} and ${items.length - shown.length} more`;
  return [shown.slice(0, -1).join(", "), ...shown.slice(-1)].filter((part) => part !== "").join(" and ");
}

const ARCHIVE = /\.(zip|tar|tgz|tbz2|txz|tar\.(gz|bz2|xz))$/i;

/** Whether a file's name promises an archive that can be unpacked. */
export function isArchive(name: string): boolean {
  return ARCHIVE.test(name);
}

function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
