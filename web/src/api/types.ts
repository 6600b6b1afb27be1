/** The shapes the API answers with. Offsets (`start`, `end`) are half-open and count Unicode code points. */

export type Role = "reader" | "editor" | "admin";

export interface Session {
  role: Role;
  name: string;
}

export interface Page<T> {
  data: T[];
  next: string | null;
}

export interface Collection {
  id: string;
  name: string;
  description?: string | null;
  documents?: number;
}

export type JobState =
  "queued" | "running" | "stalled" | "succeeded" | "partially_succeeded" | "failed" | "cancelled";

export interface Progress {
  done: number;
  total: number | null;
  unit: string;
}

export interface Job {
  id: string;
  state: JobState;
  stage: string | null;
  progress: Progress | null;
  attempt: number;
  queue_position: number | null;
  error: { code: string; message: string } | null;
  /** Of a finished ingest: among other things, sentences on what is missing. */
  statistics: { warnings?: string[] };
}

/** A document as listed. Named so that it does not hide the browser's own `Document`. */
export interface StoredDocument {
  id: string;
  name: string;
  /** The newest version, and the one that readers are answered from (null before the first). */
  version: number;
  live_version: number | null;
  state: JobState;
  collection_id: string;
  media_type: string;
  size: number;
  created_at: string;
  updated_at: string;
  job_id: string | null;
}

export interface ProblemBody {
  code: string;
  title: string;
  detail?: string | null;
}

export interface UploadOutcome {
  id: string | null;
  name: string;
  version: number | null;
  job_id: string | null;
  outcome: "created" | "updated" | "unchanged" | "rejected";
  problem?: ProblemBody | null;
}

export type Support = "verified" | "partially_supported" | "unsupported";

export interface Sentence {
  text: string;
  support: Support;
  citations: number[];
  withdrawn?: boolean;
}

export interface Citation {
  n: number;
  document_id: string;
  document: string;
  version: number;
  page: number | null;
  start: number;
  end: number;
  quote: string;
  verified: boolean;
  /** In an event that is read again after the cited document was deleted; then only `n` is there. */
  withdrawn?: boolean;
}

export interface Hit {
  document_id: string;
  document: string;
  version: number;
  text: string;
  start: number;
  end: number;
  page: number | null;
  heading?: string[] | string | null;
}

export type AnswerStatus = "running" | "completed" | "refused" | "failed" | "cancelled";

export interface Answer {
  id: string;
  status: AnswerStatus;
  text: string;
  /** A code; `message` is the same for a person. Both are null where nothing is to be explained. */
  reason?: string | null;
  message?: string | null;
  nearest?: Hit[] | null;
  sentences: Sentence[];
  citations: Citation[];
  model?: string | null;
}
