import { useState } from "preact/hooks";
import { hasEnded } from "../api/jobStream";
import { cancelEntry, type DocumentEntry, retryEntry } from "../state/documents";
import { fromDocument, openReader } from "../state/reader";
import { mayEdit } from "../state/session";
import { DeleteDialog } from "./DeleteDialog";
import { JobProgress } from "./JobProgress";
import { StateBadge } from "./StateBadge";
import { sizeOf } from "../words";

/** A document of the collection with the state of its latest job, and what can be done with it. */
export function DocumentRow({ entry }: { entry: DocumentEntry }) {
  const { document, job, note } = entry;
  const { name, state, version, live_version, size } = document;
  return (
    <li class="document-row" data-testid="document-row" data-name={name} data-state={state}>
      <div class="row-head">
        {live_version !== null ? (
          <button
            type="button"
            class="link file-name"
            onClick={() => void openReader(fromDocument(document, live_version))}
          >
            <bdi>{name}</bdi>
          </button>
        ) : (
          <bdi class="file-name">{name}</bdi>
        )}
        <StateBadge state={state} />
      </div>
      <JobProgress name={name} state={state} job={job} />
      {note !== null && <p class="row-note">{note}</p>}
      <div class="row-foot">
        <span class="muted">
          {sizeOf(size)}
          {version > 1 && ` · version ${version}`}
        </span>
        {mayEdit.value && <RowActions entry={entry} />}
      </div>
    </li>
  );
}

function RowActions({ entry }: { entry: DocumentEntry }) {
  const [deleting, setDeleting] = useState(false);
  const { name, state, job_id } = entry.document;
  const of = <span class="visually-hidden"> {name}</span>;
  return (
    <span class="row-actions">
      {job_id !== null && !hasEnded(state) && (
        <button type="button" class="link" data-testid="cancel" onClick={() => void cancelEntry(entry)}>
          Cancel{of}
        </button>
      )}
      {job_id !== null && (state === "failed" || state === "cancelled") && (
        <button type="button" class="link" data-testid="retry" onClick={() => void retryEntry(entry)}>
          Retry{of}
        </button>
      )}
      <button type="button" class="link" data-testid="delete" onClick={() => setDeleting(true)}>
        Delete{of}
      </button>
      {deleting && <DeleteDialog entry={entry} onClose={() => setDeleting(false)} />}
    </span>
  );
}
