import { computed, signal } from "@preact/signals";
import { followJob, hasEnded } from "../api/jobStream";
import { Problem, sentenceFor, sentenceOf } from "../api/problem";
import {
  cancelJob,
  deleteDocument,
  readBatch,
  readChildren,
  readDocument,
  readDocuments,
  readJob,
  retryJob,
} from "../api/routes";
import { sleep } from "../api/sse";
import type { Job, JobState, StoredDocument, UploadOutcome } from "../api/types";
import { announce } from "./announcements";
import { JobWatch } from "./jobWatch";
import type { Phase } from "./phase";

/** A document in the list, with what its latest job tells and a note on what an upload or a button did. */
export interface DocumentEntry {
  document: StoredDocument;
  job: Job | null;
  note: string | null;
}

export const entries = signal<DocumentEntry[]>([]);
export const documentsPhase = signal<Phase>({ name: "loading" });
export const nextPage = signal<string | null>(null);

/** Those that are no part of another one in the list. */
export const topEntries = computed(() => {
  const ids = new Set(entries.value.map(({ document }) => document.id));
  return entries.value.filter(({ document: { parent_id } }) => parent_id === null || !ids.has(parent_id));
});

/** The documents that were inside another, in the order in which they were found. */
export function entriesInside(id: string): DocumentEntry[] {
  const inside = entries.value.filter(({ document }) => document.parent_id === id);
  return inside.sort((one, other) => (one.document.id < other.document.id ? -1 : 1));
}

interface Opened {
  collection: string;
  controller: AbortController;
  watch: JobWatch;
}

let opened: Opened | null = null;

/** Shows the documents of a collection and watches the jobs that have not ended. */
export async function openDocuments(collection: string): Promise<void> {
  closeDocuments();
  opened = open(collection);
  documentsPhase.value = { name: "loading" };
  await loadPage(null);
}

export function closeDocuments(): void {
  opened?.controller.abort();
  opened = null;
  entries.value = [];
  nextPage.value = null;
}

export async function loadMore(): Promise<void> {
  if (nextPage.value !== null) await loadPage(nextPage.value);
}

async function loadPage(after: string | null): Promise<void> {
  const here = opened;
  if (!here) return;
  try {
    const page = await readDocuments(here.collection, after, here.controller.signal);
    if (here !== opened) return;
    page.data.forEach((document) => append(document));
    nextPage.value = page.next;
    documentsPhase.value = { name: "ready" };
    page.data.forEach(watchDocument);
  } catch (error) {
    if (here === opened) documentsPhase.value = { name: "failed", note: sentenceFor(error) };
  }
}

/** Takes the outcome of an upload into the list, when its collection is the one that is shown. */
export async function showUploaded(collection: string, outcome: UploadOutcome): Promise<void> {
  const here = opened;
  if (here?.collection !== collection || outcome.id === null) return;
  const document = await readDocument(outcome.id);
  if (here !== opened) return;
  const job_id = outcome.job_id ?? document.job_id;
  putFirst({ document: { ...document, job_id }, job: null, note: noteOn(outcome) });
  announce(`${document.name}: ${noteOn(outcome) ?? "accepted"}`);
  if (outcome.job_id !== null) here.watch.add(outcome.job_id);
}

/** Takes the documents that an archive became into the list, when its collection is the one that is shown. */
export async function showBatch(collection: string, batch: string): Promise<void> {
  const here = opened;
  if (here?.collection !== collection) return;
  const page = await readBatch(collection, batch, here.controller.signal);
  if (here !== opened) return;
  // Of so many the list is read anew: what is not shown yet is found page by page.
  if (page.next !== null) await openDocuments(collection);
  else page.data.toReversed().forEach(take);
}

/** Reads a document of the list again, and watches its newest job. */
export async function refreshDocument(id: string, note: string | null = null): Promise<void> {
  change(id, { note });
  await refresh(id);
}

/** Reads again the documents whose jobs were queued again. */
export async function refreshJobs(jobIds: string[]): Promise<void> {
  const ids = new Set(jobIds);
  const again = entries.value.filter(({ document: { job_id } }) => job_id !== null && ids.has(job_id));
  await Promise.all(again.map(({ document }) => refresh(document.id)));
}

export async function removeDocument(id: string): Promise<string | null> {
  try {
    await deleteDocument(id);
  } catch (error) {
    if (!(error instanceof Problem && (error.status === 404 || error.status === 410)))
      return sentenceFor(error);
  }
  drop(id);
  return null;
}

export async function cancelEntry({ document }: DocumentEntry): Promise<void> {
  await act(document, cancelJob);
}

export async function retryEntry({ document }: DocumentEntry): Promise<void> {
  await act(document, retryJob);
}

async function act(document: StoredDocument, order: (jobId: string) => Promise<void>): Promise<void> {
  if (document.job_id === null) return;
  try {
    await order(document.job_id);
    change(document.id, { note: null });
    onJob(await readJob(document.job_id));
    opened?.watch.add(document.job_id);
  } catch (error) {
    change(document.id, { note: sentenceFor(error) });
  }
}

function open(collection: string): Opened {
  const controller = new AbortController();
  const { signal } = controller;
  const source = { follow: followJob, read: readJob, pause: sleep };
  return { collection, controller, watch: new JobWatch({ source, onJob, onLost, signal }) };
}

function watchDocument({ state, job_id }: StoredDocument): void {
  // A failed job is read once for its sentence; one that succeeded has nothing more to tell.
  if (job_id !== null && state !== "succeeded" && state !== "cancelled") opened?.watch.add(job_id);
}

function onJob(job: Job): void {
  const entry = entries.value.find(({ document }) => document.job_id === job.id);
  if (!entry) return;
  const { document } = entry;
  change(document.id, { job, document: { ...document, state: job.state } });
  if (hasEnded(job.state) && !hasEnded(document.state)) {
    announce(`${document.name}: ${ENDINGS[job.state] ?? job.state}`);
    void refresh(document.id);
    void showInside(document.id);
  }
}

const ENDINGS: Partial<Record<JobState, string>> = {
  succeeded: "ready",
  partially_succeeded: "partly ready",
  failed: "failed",
  cancelled: "cancelled",
};

function onLost(jobId: string, error: unknown): void {
  const entry = entries.value.find(({ document }) => document.job_id === jobId);
  if (entry) change(entry.document.id, { note: `Its progress cannot be shown. ${sentenceFor(error)}` });
}

async function refresh(id: string): Promise<void> {
  try {
    const document = await readDocument(id);
    update(document);
    // What is restored, or has its scanned pages recognised, is read by another job than before.
    if (!hasEnded(document.state)) watchDocument(document);
  } catch (error) {
    // The row keeps what the job told; a document deleted meanwhile leaves the list.
    if (error instanceof Problem && (error.status === 404 || error.status === 410)) drop(id);
  }
}

/** Takes the documents that were found inside another into the list. */
async function showInside(id: string): Promise<void> {
  try {
    (await readChildren(id)).forEach(take);
  } catch (error) {
    change(id, { note: `The files inside cannot be shown. ${sentenceFor(error)}` });
  }
}

/** Puts a document first that is not in the list yet, and watches its job. */
function take(document: StoredDocument): void {
  if (entries.value.some((entry) => entry.document.id === document.id)) update(document);
  else putFirst({ document, job: null, note: null });
  watchDocument(document);
}

/** Takes a document off the list, with those inside it. */
function drop(id: string): void {
  entriesInside(id).forEach(({ document }) => drop(document.id));
  entries.value = entries.value.filter(({ document }) => document.id !== id);
}

function change(id: string, fields: Partial<DocumentEntry>): void {
  entries.value = entries.value.map((entry) => (entry.document.id === id ? { ...entry, ...fields } : entry));
}

/** Takes a document as it stands now; what a former job told of it is over. */
function update(document: StoredDocument): void {
  const job = entries.value.find((entry) => entry.document.id === document.id)?.job ?? null;
  change(document.id, { document, job: job?.id === document.job_id ? job : null });
}

function append(document: StoredDocument): void {
  if (entries.value.some((entry) => entry.document.id === document.id)) update(document);
  else entries.value = [...entries.value, { document, job: null, note: null }];
}

function putFirst(entry: DocumentEntry): void {
  entries.value = [entry, ...entries.value.filter(({ document }) => document.id !== entry.document.id)];
}

function noteOn(outcome: UploadOutcome): string | null {
  if (outcome.outcome === "unchanged") return "The same file was already here. Nothing changed.";
  if (outcome.outcome === "updated") {
    const version = outcome.version ?? 1;
    // The first version is updated when only what is said of it changed, or when it is read again after a failure.
    return version > 1 ? `This is now version ${version}.` : "This was brought up to date.";
  }
  return outcome.problem ? (sentenceOf(outcome.problem) ?? null) : null;
}
