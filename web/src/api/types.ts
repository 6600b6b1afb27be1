/** The shapes the API answers with. Offsets (`start`, `end`) are half-open and count Unicode code points. */

export type Role = "reader" | "editor" | "admin";

export interface Session {
  role: Role;
  name: string;
  /** Whether the server fetches documents from addresses. */
  url_ingestion: boolean;
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

export type JobKind = "ingest" | "purge" | "reindex" | "unpack" | "fetch" | "fit";

/** A file of an archive that became no document, and why. */
export interface Refusal {
  path: string;
  code: string;
  message: string;
}

export interface Job {
  id: string;
  kind: JobKind;
  document_id: string | null;
  state: JobState;
  stage: string | null;
  progress: Progress | null;
  /** How often a worker began; `failures` are those that count against the document. */
  attempt: number;
  failures: number;
  queue_position: number | null;
  created_at: string;
  started_at: string | null;
  finished_at: string | null;
  error: { code: string; message: string } | null;
  request_id: string | null;
  /** What a finished job tells: of an ingest, what is missing; of an archive, its files; of an address, its document. */
  statistics: {
    warnings?: string[];
    created?: number;
    updated?: number;
    unchanged?: number;
    refusals?: Refusal[];
    more_refusals?: number;
    document_id?: string;
    version?: number;
    job_id?: string | null;
    outcome?: "created" | "updated" | "unchanged";
  };
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
  /** The document that it was inside of, such as the mail that it was attached to. */
  parent_id: string | null;
  media_type: string;
  size: number;
  created_at: string;
  updated_at: string;
  job_id: string | null;
}

/** One content of a document; readers are answered from it between `live_from` and `live_to`. */
export interface DocumentVersion {
  number: number;
  size: number;
  read_by: "text" | "ocr";
  created_at: string;
  live_from: string | null;
  live_to: string | null;
}

/** What each stage saw of the newest version: a number is null, and not 0, until the stage that counts it has ended. */
export interface Receipt {
  version: number;
  state: JobState;
  parser: string | null;
  pages: {
    total: number | null;
    with_text: number | null;
    ocr: number[];
    empty: number[];
    unreadable: number[];
    waiting: number[];
  };
  characters: number | null;
  languages: string[];
  elements: {
    total: number | null;
    tables: number | null;
    images_skipped: number | null;
    links: number | null;
    hidden_characters: number | null;
  };
  chunks: {
    made: number | null;
    reused: number | null;
    embedded: number | null;
    stored_sql: number | null;
    stored_vectors: number | null;
  };
  warnings: string[];
  seconds: { parse: number | null; chunk: number | null; embed: number | null; index: number | null };
}

/** A span of a version's text with its words. */
export interface Piece {
  start: number;
  end: number;
  text: string;
}

/** What `version` has that `against` has not, and the other way round. */
export interface Difference {
  version: number;
  against: number;
  removed: Piece[];
  added: Piece[];
  /** Both are so different that all between their equal ends counts as changed. */
  coarse: boolean;
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
  /** What is unpacked or fetched has no id yet, and a job that tells what became of it. */
  outcome: "created" | "updated" | "unchanged" | "unpacking" | "fetching" | "rejected";
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
