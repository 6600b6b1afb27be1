import type { Collection } from "../api/types";
import { arrivals } from "../state/arrivals";
import { documentsPhase, entries, loadMore, nextPage, openDocuments, topEntries } from "../state/documents";
import { mayEdit } from "../state/session";
import { uploads } from "../state/uploads";
import { ArrivalRow } from "./ArrivalRow";
import { DocumentRow } from "./DocumentRow";
import { FailedJobs } from "./FailedJobs";
import { FileDrop } from "./FileDrop";
import { ProblemNote } from "./ProblemNote";
import { UploadRow } from "./UploadRow";

interface Props {
  collection: Collection;
  /** Whether it is shown where there is no room for it beside the questions. */
  open: boolean;
  covered: boolean;
  dragging: boolean;
}

/** The documents of a collection, what is being added to it, and the place to drop more. */
export function DocumentsPanel({ collection, open, covered, dragging }: Props) {
  const classes = ["documents", open && "open", dragging && mayEdit.value && "dragging"];
  return (
    <aside
      id="documents"
      class={classes.filter(Boolean).join(" ")}
      aria-labelledby="documents-title"
      inert={covered}
    >
      <h2 id="documents-title" class="panel-title">
        Documents
      </h2>
      {mayEdit.value && <FileDrop collection={collection} />}
      <DocumentList collection={collection} />
    </aside>
  );
}

function DocumentList({ collection }: { collection: Collection }) {
  const phase = documentsPhase.value;
  const coming = uploads.value.filter((upload) => upload.collection === collection.id);
  const arriving = arrivals.value.filter((arrival) => arrival.collection === collection.id);
  const count = coming.length + arriving.length + entries.value.length;
  if (phase.name === "failed") {
    return <ProblemNote note={phase.note} onRetry={() => void openDocuments(collection.id)} />;
  }
  return (
    <>
      <FailedJobs collection={collection} />
      <ul class="document-list" data-testid="documents" aria-busy={phase.name === "loading"}>
        {coming.map((upload) => (
          <UploadRow key={`upload-${upload.key}`} upload={upload} />
        ))}
        {arriving.map((arrival) => (
          <ArrivalRow key={arrival.jobId} arrival={arrival} />
        ))}
        {topEntries.value.map((entry) => (
          <DocumentRow key={entry.document.id} entry={entry} />
        ))}
      </ul>
      {phase.name === "loading" && <p class="muted">Loading documents…</p>}
      {phase.name === "ready" && count === 0 && (
        <p class="muted empty">
          No documents yet. Add some, and their text can be asked as soon as they are ready.
        </p>
      )}
      {nextPage.value !== null && (
        <button type="button" class="button" onClick={() => void loadMore()}>
          Show more documents
        </button>
      )}
    </>
  );
}
