import { useState } from "preact/hooks";
import type { DocumentEntry } from "../state/documents";
import { deleteEverywhere } from "../state/removal";
import { Dialog } from "./Dialog";
import { ProblemNote } from "./ProblemNote";

/** Asks before a document is deleted, and says what that takes with it. */
export function DeleteDialog({ entry, onClose }: { entry: DocumentEntry; onClose: () => void }) {
  const [problem, setProblem] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);

  const confirm = async () => {
    setBusy(true);
    const note = await deleteEverywhere(entry);
    setBusy(false);
    if (note === null) onClose();
    else setProblem(note);
  };

  return (
    <Dialog title="Delete this document?" onClose={onClose}>
      <p>
        <bdi class="file-name">{entry.document.name}</bdi>, all its versions, and every sentence of an answer
        that cites it will be gone. This cannot be undone.
      </p>
      {problem !== null && <ProblemNote note={problem} />}
      <div class="actions">
        <button type="button" class="button" onClick={onClose}>
          Keep it
        </button>
        <button
          type="button"
          class="button danger"
          disabled={busy}
          data-testid="confirm-delete"
          onClick={() => void confirm()}
        >
          Delete
        </button>
      </div>
    </Dialog>
  );
}
