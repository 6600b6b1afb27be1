import { posting, request, requestJson } from "./client";
import { Problem } from "./problem";
import type {
  Answer,
  Collection,
  Difference,
  DocumentVersion,
  Job,
  Page,
  Receipt,
  Session,
  StoredDocument,
  UploadOutcome,
} from "./types";

const at = encodeURIComponent;

/** Who is signed in, or null when nobody is. */
export async function readSession(): Promise<Session | null> {
  try {
    return await requestJson<Session>("/v1/session");
  } catch (error) {
    if (error instanceof Problem && error.status === 401) return null;
    throw error;
  }
}

/** Exchanges a one-time link's token, or an API key, for a session cookie. */
export async function signIn(credential: { token: string } | { api_key: string }): Promise<void> {
  await request("/v1/session", posting(credential));
}

export async function signOut(): Promise<void> {
  await request("/v1/session", { method: "DELETE" });
}

/** Every collection, following the pages of the list to its end. */
export async function readCollections(): Promise<Collection[]> {
  const all: Collection[] = [];
  let after: string | null = null;
  do {
    const query: string = after === null ? "" : `?after=${at(after)}`;
    const page: Page<Collection> = await requestJson(`/v1/collections${query}`);
    all.push(...page.data);
    after = page.next;
  } while (after !== null);
  return all;
}

export async function createCollection(name: string): Promise<Collection> {
  return requestJson("/v1/collections", posting({ name }));
}

/** One page of a collection's documents; `after` is the `next` of the page before. */
export async function readDocuments(
  collection: string,
  after: string | null,
  signal: AbortSignal,
): Promise<Page<StoredDocument>> {
  const query = after === null ? "" : `?after=${at(after)}`;
  return requestJson(`/v1/collections/${at(collection)}/documents${query}`, { signal });
}

/** The documents that an archive became; `batch` is the job that unpacked it. */
export async function readBatch(
  collection: string,
  batch: string,
  signal: AbortSignal,
): Promise<Page<StoredDocument>> {
  return requestJson(`/v1/collections/${at(collection)}/documents?limit=200&batch=${at(batch)}`, { signal });
}

/** The documents that were inside another, such as the attachments of a mail. */
export async function readChildren(id: string): Promise<StoredDocument[]> {
  return (await requestJson<Page<StoredDocument>>(`/v1/documents/${at(id)}/children`)).data;
}

/** Has the document at an address fetched into a collection. */
export async function addAddress(collection: string, url: string): Promise<UploadOutcome | undefined> {
  const reply = await requestJson<{ documents: UploadOutcome[] }>(
    documentsAddress(collection),
    posting({ url }),
  );
  return reply.documents[0];
}

export async function readReceipt(id: string, signal: AbortSignal): Promise<Receipt> {
  return requestJson(`/v1/documents/${at(id)}/receipt`, { signal });
}

/** The versions of a document, newest first. */
export async function readVersions(id: string, signal: AbortSignal): Promise<DocumentVersion[]> {
  return (await requestJson<Page<DocumentVersion>>(`/v1/documents/${at(id)}/versions`, { signal })).data;
}

export async function readDifference(
  id: string,
  version: number,
  against: number,
  signal: AbortSignal,
): Promise<Difference> {
  return requestJson(`/v1/documents/${at(id)}/versions/${version}/diff?against=${against}`, { signal });
}

/** Makes a version's content the newest again, as a version of its own. */
export async function restoreVersion(id: string, version: number): Promise<{ version: number }> {
  return requestJson(`/v1/documents/${at(id)}/versions/${version}/restore`, { method: "POST" });
}

export async function readDocument(id: string): Promise<StoredDocument> {
  return requestJson(`/v1/documents/${at(id)}`);
}

export async function deleteDocument(id: string): Promise<void> {
  await request(`/v1/documents/${at(id)}`, { method: "DELETE" });
}

/** The canonical text of a version, code point for code point. */
export async function readText(document: string, version: number, signal: AbortSignal): Promise<string> {
  const response = await request(`/v1/documents/${at(document)}/versions/${version}/text`, { signal });
  // Not response.text(): it drops a leading U+FEFF, and every offset after it would be one too high.
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(await response.arrayBuffer());
}

/** Where the bytes of a version lie as they were uploaded. */
export function originalAddress(document: string, version: number): string {
  return `/v1/documents/${at(document)}/versions/${version}/original`;
}

export function documentsAddress(collection: string): string {
  return `/v1/collections/${at(collection)}/documents`;
}

export async function readJob(id: string, signal?: AbortSignal): Promise<Job> {
  return requestJson(`/v1/jobs/${at(id)}`, signal ? { signal } : {});
}

/** The newest jobs of a collection that failed. */
export async function readFailedJobs(collection: string, signal: AbortSignal): Promise<Page<Job>> {
  return requestJson(`/v1/jobs?state=failed&limit=50&collection=${at(collection)}`, { signal });
}

/** Queues all failed jobs of a collection again, a thousand at most; gives how many, and whether more are left. */
export async function retryFailedJobs(collection: string): Promise<{ job_ids: string[]; more: boolean }> {
  return requestJson("/v1/jobs/retry", posting({ collection }));
}

export async function cancelJob(id: string): Promise<void> {
  await request(`/v1/jobs/${at(id)}/cancel`, { method: "POST" });
}

export async function retryJob(id: string): Promise<void> {
  await request(`/v1/jobs/${at(id)}/retry`, { method: "POST" });
}

export function jobEventsAddress(id: string): string {
  return `/v1/jobs/${at(id)}/events`;
}

export function answerEventsAddress(id: string): string {
  return `/v1/answers/${at(id)}/events`;
}

/** An answer as it stands, without what was deleted since. */
export async function readAnswer(id: string): Promise<Answer> {
  return requestJson(`/v1/answers/${at(id)}`);
}

export async function stopAnswer(id: string): Promise<void> {
  await request(`/v1/answers/${at(id)}/stop`, { method: "POST" });
}
