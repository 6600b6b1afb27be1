import { useEffect, useState } from "preact/hooks";
import type { Collection, Job } from "../api/types";
import {
  failedNames,
  failedRows,
  failures,
  loadFailures,
  nameFailures,
  retryAllFailures,
  retryFailure,
} from "../state/failures";
import { mayEdit } from "../state/session";
import { counted, momentOf } from "../words";
import { ProblemNote } from "./ProblemNote";

/** All jobs of a collection that failed, those of documents that are not shown among them; nothing while there is none. */
export function FailedJobs({ collection }: { collection: Collection }) {
  const told = failedRows.value;
  useEffect(() => void loadFailures(collection.id), [collection.id, told]);
  const found = failures.value;
  const [open, setOpen] = useState(false);
  useEffect(() => {
    if (open) void nameFailures();
  }, [open, found]);
  if (found?.collection !== collection.id) return null;
  if (found.note !== null)
    return <ProblemNote note={found.note} onRetry={() => void loadFailures(collection.id)} />;
  if (found.jobs.length === 0) return null;
  const count = found.more
    ? `More than ${counted(found.jobs.length, "job")}`
    : counted(found.jobs.length, "job");
  return (
    <details
      class="fold failures"
      data-testid="failed-jobs"
      onToggle={(event) => setOpen(event.currentTarget.open)}
    >
      <summary>{count} failed</summary>
      <ul class="plain-list">
        {found.jobs.map((job) => (
          <FailedJob key={job.id} job={job} />
        ))}
      </ul>
      {mayEdit.value && found.jobs.length > 1 && (
        <button type="button" class="button" data-testid="retry-all" onClick={() => void retryAllFailures()}>
          Retry all
        </button>
      )}
    </details>
  );
}

const ABOUT: Record<Exclude<Job["kind"], "ingest">, string> = {
  purge: "Cleaning up after a deletion",
  reindex: "A new index",
  unpack: "Unpacking an archive",
  fetch: "Fetching an address",
  fit: "Fitting the search",
};

function FailedJob({ job }: { job: Job }) {
  const { kind, document_id, error, finished_at } = job;
  const name = kind === "ingest" ? (failedNames.value.get(document_id ?? "") ?? "A document") : ABOUT[kind];
  return (
    <li class="failed-job" data-testid="failed-job" data-code={error?.code}>
      <bdi class="file-name strong">{name}</bdi>
      {error && <p class="row-note bad">{error.message}</p>}
      <div class="row-foot">
        <span class="muted">
          {error && <code>{error.code}</code>}
          {finished_at !== null && ` · ${momentOf(finished_at)}`}
        </span>
        {/* A reindex or a fit that failed is started anew, never gone on with. */}
        {mayEdit.value && kind !== "reindex" && kind !== "fit" && (
          <button type="button" class="link" data-testid="retry-one" onClick={() => void retryFailure(job)}>
            Retry<span class="visually-hidden"> {name}</span>
          </button>
        )}
      </div>
    </li>
  );
}
