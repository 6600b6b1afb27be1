import type { Job, Receipt } from "./api/types";
import { counted, durationOf, languageOf, listed } from "./words";

/** What one stage saw, in words, and how long it took. */
export interface ReceiptLine {
  label: string;
  facts: string[];
  time: string | null;
}

/** A receipt for a reader, stage by stage; a stage that has not ended yet is left out. */
export function linesOf(receipt: Receipt): ReceiptLine[] {
  const { seconds } = receipt;
  const lines = [
    line("Read", readFacts(receipt), seconds.parse),
    line("Cut", cutFacts(receipt), seconds.chunk),
    line("Embedded", embeddedFacts(receipt), seconds.embed),
    line("Stored", storedFacts(receipt), seconds.index),
  ];
  return lines.filter(({ facts }) => facts.length > 0);
}

/** How the job of a document went: its attempts, what it waited for and what it took. */
export function jobFacts(job: Job): string[] {
  const { attempt, failures, created_at, started_at, finished_at } = job;
  const facts: string[] = [];
  if (started_at !== null) facts.push(`waited ${between(created_at, started_at)}`);
  if (started_at !== null && finished_at !== null) facts.push(`took ${between(started_at, finished_at)}`);
  if (attempt > 1) facts.push(counted(attempt, "attempt"));
  if (failures > 0) facts.push(`${failures} of them failed`);
  return facts;
}

function line(label: string, facts: (string | null)[], seconds: number | null): ReceiptLine {
  return {
    label,
    facts: facts.filter((fact) => fact !== null),
    time: seconds === null ? null : durationOf(seconds),
  };
}

function readFacts({ parser, pages, characters, languages, elements }: Receipt): (string | null)[] {
  if (characters === null) return [];
  const tongues = languages.length > 0 ? ` in ${listed(languages.map(languageOf))}` : "";
  return [
    pages.total === null ? null : counted(pages.total, "page"),
    pages.with_text === null ? null : `${counted(pages.with_text, "page")} with text`,
    pagesThat("by OCR", pages.ocr),
    pagesThat("empty", pages.empty),
    pagesThat("unreadable", pages.unreadable),
    pagesThat("not recognised yet", pages.waiting),
    `${counted(characters, "character")}${tongues}`,
    some(elements.total, "paragraph or other element", "paragraphs and other elements"),
    some(elements.tables, "table"),
    some(elements.images_skipped, "picture skipped", "pictures skipped"),
    some(elements.links, "link"),
    some(elements.hidden_characters, "hidden character, not searched", "hidden characters, not searched"),
    parser === null ? null : `reader: ${parser}`,
  ];
}

function cutFacts({ chunks }: Receipt): (string | null)[] {
  return [chunks.made === null ? null : counted(chunks.made, "passage")];
}

function embeddedFacts({ chunks: { embedded, reused } }: Receipt): (string | null)[] {
  if (embedded === null || reused === null) return [];
  return [`${embedded.toLocaleString("en")} anew`, `${reused.toLocaleString("en")} known before`];
}

function storedFacts({ chunks: { stored_sql, stored_vectors } }: Receipt): (string | null)[] {
  if (stored_sql === null || stored_vectors === null) return [];
  return [
    `${stored_sql.toLocaleString("en")} in the database`,
    `${stored_vectors.toLocaleString("en")} in the vector store`,
  ];
}

function pagesThat(are: string, pages: number[]): string | null {
  if (pages.length === 0) return null;
  return `${pages.length} ${are} (${pages.length === 1 ? "page" : "pages"} ${listed(pages)})`;
}

/** A count that is worth telling: what there is none of is left out. */
function some(count: number | null, one: string, many = `${one}s`): string | null {
  return count ? `${count.toLocaleString("en")} ${count === 1 ? one : many}` : null;
}

function between(from: string, to: string): string {
  return durationOf(Math.max(0, Date.parse(to) - Date.parse(from)) / 1000);
}
