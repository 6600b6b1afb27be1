import { signal } from "@preact/signals";
import { followJob, hasEnded } from "../api/jobStream";
import { sentenceFor } from "../api/problem";
import { addAddress, cancelJob, readJob, retryJob } from "../api/routes";
import { sleep } from "../api/sse";
import type { Job, UploadOutcome } from "../api/types";
import { counted } from "../words";
import { announce } from "./announcements";
import { showBatch, showUploaded } from "./documents";
import { JobWatch } from "./jobWatch";

/** An archive that is unpacked, or an address that is fetched: no document yet, and a job that makes some. */
export interface Arrival {
  jobId: string;
  collection: string;
  name: string;
  job: Job | null;
  note: string | null;
}

export const arrivals = signal<Arrival[]>([]);

let watch: { jobs: JobWatch; controller: AbortController } | null = null;

/** Shows what the server is about to unpack or fetch, until it has. */
export function expectArrival(collection: string, { outcome, job_id, name }: UploadOutcome): void {
  if (job_id === null || (outcome !== "unpacking" && outcome !== "fetching")) return;
  const others = arrivals.value.filter(({ jobId }) => jobId !== job_id);
  arrivals.value = [{ jobId: job_id, collection, name, job: null, note: null }, ...others];
  follow(job_id);
}

/** Has an address fetched into a collection; gives the sentence to show when that is refused. */
export async function fetchAddress(collection: string, url: string): Promise<string | null> {
  try {
    const outcome = await addAddress(collection, url);
    if (outcome) expectArrival(collection, outcome);
    return null;
  } catch (error) {
    return sentenceFor(error);
  }
}

export function dismissArrival(jobId: string): void {
  arrivals.value = arrivals.value.filter((arrival) => arrival.jobId !== jobId);
}

export async function cancelArrival(jobId: string): Promise<void> {
  await act(jobId, cancelJob);
}

export async function retryArrival(jobId: string): Promise<void> {
  await act(jobId, retryJob);
}

/** Forgets all arrivals, when the person signs out. */
export function clearArrivals(): void {
  watch?.controller.abort();
  watch = null;
  arrivals.value = [];
}

async function act(jobId: string, order: (jobId: string) => Promise<void>): Promise<void> {
  try {
    await order(jobId);
    change(jobId, { note: null });
    onJob(await readJob(jobId));
    follow(jobId);
  } catch (error) {
    change(jobId, { note: sentenceFor(error) });
  }
}

function follow(jobId: string): void {
  watch ??= open();
  watch.jobs.add(jobId);
}

function open(): { jobs: JobWatch; controller: AbortController } {
  const controller = new AbortController();
  const source = { follow: followJob, read: readJob, pause: sleep };
  const { signal } = controller;
  return { controller, jobs: new JobWatch({ source, onJob, onLost, signal, streams: 1 }) };
}

function onJob(job: Job): void {
  const arrival = arrivals.value.find(({ jobId }) => jobId === job.id);
  if (!arrival) return;
  const ended = hasEnded(job.state) && !(arrival.job && hasEnded(arrival.job.state));
  change(job.id, { job });
  if (ended) void conclude(arrival, job);
}

/** Shows what came of it. The row stays only while it has something to say. */
async function conclude({ collection, name }: Arrival, job: Job): Promise<void> {
  announce(`${name}: ${endingOf(job)}`);
  try {
    await show(collection, name, job);
    if (job.state === "succeeded") dismissArrival(job.id);
  } catch (error) {
    change(job.id, { note: `Its documents cannot be shown. ${sentenceFor(error)}` });
  }
}

async function show(collection: string, name: string, job: Job): Promise<void> {
  const { document_id, version = null, job_id = null, outcome } = job.statistics;
  if (job.kind === "unpack") await showBatch(collection, job.id);
  else if (document_id !== undefined && outcome !== undefined)
    await showUploaded(collection, { id: document_id, name, version, job_id, outcome });
}

/** What became of an archive or an address, in a few words. */
export function endingOf(job: Job): string {
  if (job.state === "failed") return job.error?.message ?? "failed";
  if (job.state === "cancelled") return "cancelled";
  if (job.kind !== "unpack") return "fetched";
  const { created = 0, updated = 0, unchanged = 0 } = job.statistics;
  const parts: [number, string][] = [
    [created, "new"],
    [updated, "changed"],
    [unchanged, "known before"],
  ];
  const told = parts.filter(([count]) => count > 0).map(([count, word]) => `${count} ${word}`);
  return `${counted(created + updated + unchanged, "document")}: ${told.join(", ")}.`;
}

function onLost(jobId: string, error: unknown): void {
  change(jobId, { note: `Its progress cannot be shown. ${sentenceFor(error)}` });
}

function change(jobId: string, fields: Partial<Arrival>): void {
  arrivals.value = arrivals.value.map((arrival) =>
    arrival.jobId === jobId ? { ...arrival, ...fields } : arrival,
  );
}
