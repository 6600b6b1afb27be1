import { signal } from "@preact/signals";
import { isAbort } from "../api/client";
import { sentenceFor } from "../api/problem";
import { readDifference, readText } from "../api/routes";
import type { Citation, Difference, Hit, StoredDocument } from "../api/types";
import { type Span, toUtf16 } from "../spans";

/** What the reader shows. `span` counts code points, and is null to show a document from its start. */
export interface ReaderTarget {
  documentId: string;
  document: string;
  version: number;
  page: number | null;
  span: Span | null;
  quote: string | null;
  /** Whether the service checked this quote; null for what is no citation. */
  verified: boolean | null;
  /** The other version that this one is compared with, and how many there are; null to read its text. */
  against: { number: number; of: number } | null;
}

/** How the words at the span compare with the quote that the answer carries. */
export type QuoteMatch = "matches" | "differs" | "outside" | "none";

export type ReaderText =
  | { phase: "loading" }
  | { phase: "ready"; text: string; marked: Span | null; match: QuoteMatch }
  | { phase: "compared"; difference: Difference }
  | { phase: "failed"; note: string };

export const target = signal<ReaderTarget | null>(null);
export const readerText = signal<ReaderText>({ phase: "loading" });

let loading: AbortController | null = null;
let opener: HTMLElement | null = null;

/** Opens the reader, and remembers what has the focus now, to give it back. */
export async function openReader(to: ReaderTarget): Promise<void> {
  if (document.activeElement instanceof HTMLElement && !document.activeElement.closest("[data-reader]")) {
    opener = document.activeElement;
  }
  loading?.abort();
  const controller = new AbortController();
  loading = controller;
  target.value = to;
  readerText.value = { phase: "loading" };
  try {
    readerText.value = await read(to, controller.signal);
  } catch (error) {
    if (!isAbort(error)) readerText.value = { phase: "failed", note: sentenceFor(error) };
  }
}

async function read(to: ReaderTarget, signal: AbortSignal): Promise<ReaderText> {
  const { documentId, version, against } = to;
  if (against) {
    const difference = await readDifference(documentId, version, against.number, signal);
    return { phase: "compared", difference };
  }
  const text = await readText(documentId, version, signal);
  return { phase: "ready", text, ...locate(text, to) };
}

export function closeReader(): void {
  loading?.abort();
  target.value = null;
  readerText.value = { phase: "loading" };
}

/** Focuses what had the focus before the reader opened. Works only once the page is no longer inert beneath it. */
export function giveFocusBack(): void {
  if (opener?.isConnected) opener.focus();
  opener = null;
}

export function fromCitation(citation: Citation): ReaderTarget {
  const { document_id, document, version, page, start, end, quote, verified } = citation;
  const span = { start, end };
  return { documentId: document_id, document, version, page, span, quote, verified, against: null };
}

export function fromHit({ document_id, document, version, page, start, end, text }: Hit): ReaderTarget {
  return {
    documentId: document_id,
    document,
    version,
    page,
    span: { start, end },
    quote: text,
    verified: null,
    against: null,
  };
}

/** A version's text from its start. The one that answers come from is not the newest while that is being read. */
export function fromDocument({ id, name }: StoredDocument, version: number): ReaderTarget {
  return {
    documentId: id,
    document: name,
    version,
    page: null,
    span: null,
    quote: null,
    verified: null,
    against: null,
  };
}

/** What a version has that another has not. */
export function fromVersions(document: StoredDocument, version: number, against: number): ReaderTarget {
  return { ...fromDocument(document, version), against: { number: against, of: document.version } };
}

/** Where the quote stands in the text, in UTF-16 units, and whether the words there are the quote's. */
export function locate(
  text: string,
  { span, quote }: ReaderTarget,
): { marked: Span | null; match: QuoteMatch } {
  if (!span) return { marked: null, match: "none" };
  const marked = toUtf16(text, span);
  if (!marked) return { marked: null, match: "outside" };
  return { marked, match: text.slice(marked.start, marked.end) === quote ? "matches" : "differs" };
}
