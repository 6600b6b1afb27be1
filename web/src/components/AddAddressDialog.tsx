import { useState } from "preact/hooks";
import type { Collection } from "../api/types";
import { fetchAddress } from "../state/arrivals";
import { Dialog } from "./Dialog";
import { ProblemNote } from "./ProblemNote";

interface Props {
  collection: Collection;
  onClose: () => void;
}

/** Asks for the address of a document and has the server fetch it. */
export function AddAddressDialog({ collection, onClose }: Props) {
  const [address, setAddress] = useState("");
  const [problem, setProblem] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    setBusy(true);
    const note = await fetchAddress(collection.id, address.trim());
    setBusy(false);
    if (note === null) onClose();
    else setProblem(note);
  };

  return (
    <Dialog title="Add by address" onClose={onClose}>
      <form onSubmit={(event) => void submit(event)}>
        {problem !== null && <ProblemNote note={problem} />}
        <label class="field">
          <span>Address</span>
          <input
            type="url"
            required
            autocomplete="off"
            placeholder="https://…"
            value={address}
            data-testid="address"
            onInput={(event) => setAddress(event.currentTarget.value)}
          />
        </label>
        <p class="muted">Ibid fetches the document now. Add the same address again to fetch it anew.</p>
        <div class="actions">
          <button type="button" class="button" onClick={onClose}>
            Cancel
          </button>
          <button
            type="submit"
            class="button primary"
            disabled={busy || address.trim() === ""}
            data-testid="fetch-address"
          >
            Add
          </button>
        </div>
      </form>
    </Dialog>
  );
}
