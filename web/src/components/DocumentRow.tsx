import { useState } from "preact/hooks";
import { hasEnded } from "../api/jobStream";
import { cancelEntry, type DocumentEntry, entriesInside, retryEntry } from "../state/documents";
import { fromDocument, openReader } from "../state/reader";
import { mayEdit } from "../state/session";
import { DeleteDialog } from "./DeleteDialog";
import { DocumentDetails } from "./DocumentDetails";
import { JobProgress } from "./JobProgress";
import { StateBadge } from "./StateBadge";
import { sizeOf } from "../words";

/** A document of the collection with the state of its latest job, and what can be done with it. */
export function DocumentRow({ entry }: { entry: DocumentEntry }) {
  const { document, job, note } = entry;
  const { id, name, state, version, live_version, size } = document;
  const [open, setOpen] = useState(false);
  const inside = entriesInside(id);
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
        <span class="row-actions">
          {mayEdit.value && <JobActions entry={entry} />}
          <button
            type="button"
            class="link"
            aria-expanded={open}
            data-testid="details"
            onClick={() => setOpen(!open)}
          >
            {open ? "Less" : "Details"}
            <span class="visually-hidden"> of {name}</span>
          </button>
          {mayEdit.value && <DeleteAction entry={entry} />}
        </span>
      </div>
      {open && <DocumentDetails document={document} />}
      {inside.length > 0 && (
        <ul class="inside" aria-label={`Files inside ${name}`} data-testid="inside">
          {inside.map((child) => (
            <DocumentRow key={child.document.id} entry={child} />
          ))}
        </ul>
      )}
    </li>
  );
}

function JobActions({ entry }: { entry: DocumentEntry }) {
  const { name, state, job_id } = entry.document;
  const of = <span class="visually-hidden"> {name}</span>;
  if (job_id === null) return null;
  if (!hasEnded(state)) {
    return (
      <button type="button" class="link" data-testid="cancel" onClick={() => void cancelEntry(entry)}>
        Cancel{of}
      </button>
    );
  }
  if (state !== "failed" && state !== "cancelled") return null;
  return (
    <button type="button" class="link" data-testid="retry" onClick={() => void retryEntry(entry)}>
      Retry{of}
    </button>
  );
}

function DeleteAction({ entry }: { entry: DocumentEntry }) {
  const [deleting, setDeleting] = useState(false);
  return (
    <>
      <button type="button" class="link" data-testid="delete" onClick={() => setDeleting(true)}>
        Delete<span class="visually-hidden"> {entry.document.name}</span>
      </button>
      {deleting && <DeleteDialog entry={entry} onClose={() => setDeleting(false)} />}
    </>
  );
}
