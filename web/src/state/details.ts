import { readJob, readReceipt, readVersions, restoreVersion } from "../api/routes";
import { sentenceFor } from "../api/problem";
import type { DocumentVersion, Job, Receipt, StoredDocument } from "../api/types";
import { refreshDocument } from "./documents";

/** What is told of a document only when somebody asks. */
export interface Details {
  receipt: Receipt;
  versions: DocumentVersion[];
  job: Job | null;
}

/** The receipt and versions of a document, and its newest job. */
export async function readDetails(id: string, job_id: string | null, signal: AbortSignal): Promise<Details> {
  const [receipt, versions, job] = await Promise.all([
    readReceipt(id, signal),
    readVersions(id, signal),
    job_id === null ? null : readJob(job_id, signal),
  ]);
  return { receipt, versions, job };
}

/** Makes an older content the newest again; gives the sentence to show when that fails. */
export async function restore({ id }: StoredDocument, version: number): Promise<string | null> {
  try {
    const made = await restoreVersion(id, version);
    await refreshDocument(id, `The content of version ${version} is now version ${made.version}.`);
    return null;
  } catch (error) {
    return sentenceFor(error);
  }
}
