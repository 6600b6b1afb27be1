import { useState } from "preact/hooks";
import { addCollection } from "../state/collections";
import { Dialog } from "./Dialog";
import { ProblemNote } from "./ProblemNote";

/** Asks for the name of a new collection and creates it. */
export function NewCollectionDialog({ onClose }: { onClose: () => void }) {
  const [name, setName] = useState("");
  const [problem, setProblem] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    setBusy(true);
    const note = await addCollection(name.trim());
    setBusy(false);
    if (note === null) onClose();
    else setProblem(note);
  };

  return (
    <Dialog title="New collection" onClose={onClose}>
      <form onSubmit={(event) => void submit(event)}>
        {problem !== null && <ProblemNote note={problem} />}
        <label class="field">
          <span>Name</span>
          <input
            type="text"
            required
            autocomplete="off"
            value={name}
            data-testid="collection-name"
            onInput={(event) => setName(event.currentTarget.value)}
          />
        </label>
        <div class="actions">
          <button type="button" class="button" onClick={onClose}>
            Cancel
          </button>
          <button
            type="submit"
            class="button primary"
            disabled={busy || name.trim() === ""}
            data-testid="create-collection"
          >
            Create
          </button>
        </div>
      </form>
    </Dialog>
  );
}
