import { computed, signal } from "@preact/signals";
import { isAbort, visitSignal } from "../api/client";
import { sentenceFor } from "../api/problem";
import { readDocument, readFailedJobs, retryFailedJobs, retryJob } from "../api/routes";
import type { Job } from "../api/types";
import { counted } from "../words";
import { announce } from "./announcements";
import { arrivals, expectArrival } from "./arrivals";
import { entries, refreshJobs } from "./documents";

/** The newest failed jobs of the collection that is shown; `more` says that there are others. */
export interface Failures {
  collection: string;
  jobs: Job[];
  more: boolean;
  note: string | null;
}

export const failures = signal<Failures | null>(null);
/** Names of the documents that failed jobs are about, as far as they were looked up. */
export const failedNames = signal<ReadonlyMap<string, string>>(new Map());

/** How many failures the list shows itself: when that changes, there are others to be read. */
export const failedRows = computed(
  () =>
    entries.value.filter(({ document }) => document.state === "failed").length +
    arrivals.value.filter(({ job }) => job?.state === "failed").length,
);

let loading: AbortController | null = null;

/** Reads which jobs of a collection failed. */
export async function loadFailures(collection: string): Promise<void> {
  loading?.abort();
  const controller = new AbortController();
  loading = controller;
  if (failures.value?.collection !== collection) failures.value = null;
  try {
    const { data, next } = await readFailedJobs(collection, controller.signal);
    failures.value = { collection, jobs: data, more: next !== null, note: null };
  } catch (error) {
    if (!isAbort(error)) failures.value = { collection, jobs: [], more: false, note: sentenceFor(error) };
  }
}

/** Forgets them, when the person signs out. */
export function clearFailures(): void {
  loading?.abort();
  failures.value = null;
  failedNames.value = new Map();
}

/** Looks up the names of the documents that the failed jobs are about. */
export async function nameFailures(): Promise<void> {
  const visit = visitSignal();
  const ids = (failures.value?.jobs ?? []).map(({ document_id }) => document_id);
  const unknown = [...new Set(ids)].filter((id) => id !== null).filter((id) => !failedNames.value.has(id));
  const found = await Promise.all(unknown.map(async (id) => [id, await nameOf(id)] as const));
  if (visit.aborted) return;
  failedNames.value = new Map([...failedNames.value, ...found]);
}

/** Queues a failed job again. */
export async function retryFailure(job: Job): Promise<void> {
  await again(async () => {
    await retryJob(job.id);
    return [job.id];
  });
}

/** Queues all failed jobs of the collection again. */
export async function retryAllFailures(): Promise<void> {
  const collection = failures.value?.collection;
  if (collection === undefined) return;
  await again(async () => {
    const all: string[] = [];
    for (let more = true; more;) {
      const some = await retryFailedJobs(collection);
      all.push(...some.job_ids);
      more = some.more;
    }
    return all;
  });
}

async function again(retry: () => Promise<string[]>): Promise<void> {
  const visit = visitSignal();
  const before = failures.value;
  if (!before) return;
  try {
    const ids = await retry();
    announce(`${counted(ids.length, "job")} queued again`);
    before.jobs.filter(({ id }) => ids.includes(id)).forEach((job) => expectAgain(before.collection, job));
    await refreshJobs(ids);
    if (!visit.aborted) await loadFailures(before.collection);
  } catch (error) {
    if (!isAbort(error)) failures.value = { ...before, note: sentenceFor(error) };
  }
}

/** Shows again what is unpacked or fetched, under its name if that is still known here: no job tells it. */
function expectAgain(collection: string, { id, kind }: Job): void {
  if (kind !== "unpack" && kind !== "fetch") return;
  const known = arrivals.value.find(({ jobId }) => jobId === id)?.name;
  const name = known ?? (kind === "unpack" ? "An archive" : "An address");
  const outcome = kind === "unpack" ? "unpacking" : "fetching";
  expectArrival(collection, { id: null, name, version: null, job_id: id, outcome });
}

async function nameOf(id: string): Promise<string> {
  try {
    return (await readDocument(id)).name;
  } catch {
    // Deleted meanwhile, or never seen: its job is still told of.
    return "A document that is gone";
  }
}
