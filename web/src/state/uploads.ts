import { signal } from "@preact/signals";
import { isAbort } from "../api/client";
import { sentenceFor, sentenceOf } from "../api/problem";
import type { UploadOutcome } from "../api/types";
import { uploadFile } from "../api/upload";
import { isArchive } from "../words";
import { announce } from "./announcements";
import { expectArrival } from "./arrivals";
import { showUploaded } from "./documents";

/** A file that is not yet a document of the collection: on its way, refused, or an archive to be asked about. */
export interface Upload {
  key: number;
  collection: string;
  file: File;
  state: "archive" | "waiting" | "uploading" | "rejected";
  /** Whether it is an archive whose files are to become documents. */
  unpack: boolean;
  /** How much has been sent, 0 to 1. */
  sent: number;
  problem: string | null;
}

export const uploads = signal<Upload[]>([]);

let lastKey = 0;
let sending = false;

/**
 * Queues files for a collection. They are sent one by one, each in its own request: one refused file stops no other.
 * An archive waits until somebody says that it is to be unpacked.
 */
export function addFiles(collection: string, files: Iterable<File>): void {
  const added = [...files].map((file): Upload => {
    lastKey += 1;
    const state = isArchive(file.name) ? "archive" : "waiting";
    return { key: lastKey, collection, file, state, unpack: false, sent: 0, problem: null };
  });
  uploads.value = [...uploads.value, ...added];
  void sendAll();
}

export function dismiss(key: number): void {
  uploads.value = uploads.value.filter((upload) => upload.key !== key);
}

export function unpackIt(key: number): void {
  change(key, { state: "waiting", unpack: true });
  void sendAll();
}

export function sendAgain(key: number): void {
  change(key, { state: "waiting", sent: 0, problem: null });
  void sendAll();
}

/** Forgets all files, when the person signs out: what waits is not sent, and what is being sent is given up. */
export function clearUploads(): void {
  uploads.value = [];
}

async function sendAll(): Promise<void> {
  if (sending) return;
  sending = true;
  try {
    for (let upload = nextWaiting(); upload; upload = nextWaiting()) await send(upload);
  } finally {
    sending = false;
  }
}

async function send({ key, collection, file, unpack }: Upload): Promise<void> {
  change(key, { state: "uploading" });
  try {
    const outcome = await uploadFile(collection, { file, unpack }, (sent) => change(key, { sent }));
    if (outcome.outcome === "rejected") {
      reject(key, file, reasonOf(outcome));
      return;
    }
    expectArrival(collection, outcome);
    await showUploaded(collection, outcome);
    dismiss(key);
  } catch (error) {
    if (!isAbort(error)) reject(key, file, sentenceFor(error));
  }
}

function reject(key: number, file: File, problem: string): void {
  change(key, { state: "rejected", problem });
  announce(`${file.name} was not accepted: ${problem}`);
}

function reasonOf({ problem }: UploadOutcome): string {
  return (problem && sentenceOf(problem)) ?? "The server did not accept this file.";
}

function nextWaiting(): Upload | undefined {
  return uploads.value.find(({ state }) => state === "waiting");
}

function change(key: number, fields: Partial<Upload>): void {
  uploads.value = uploads.value.map((upload) => (upload.key === key ? { ...upload, ...fields } : upload));
}
