import { useState } from "preact/hooks";
import type { Collection } from "../api/types";
import { mayFetch } from "../state/session";
import { addFiles } from "../state/uploads";
import { AddAddressDialog } from "./AddAddressDialog";

/** Where to drop files, the button that does the same, and the way for documents that have an address. */
export function FileDrop({ collection }: { collection: Collection }) {
  const [addressing, setAddressing] = useState(false);
  const choose = (input: HTMLInputElement) => {
    addFiles(collection.id, [...(input.files ?? [])]);
    // So that choosing the same file again is a change again.
    input.value = "";
  };
  return (
    <div class="drop-zone" data-testid="drop-zone">
      <input
        id="files"
        class="visually-hidden"
        type="file"
        multiple
        data-testid="file-input"
        onChange={(event) => choose(event.currentTarget)}
      />
      <label class="button" for="files">
        Add files
      </label>
      <p class="muted">or drop them anywhere on this page</p>
      {mayFetch.value && (
        <button type="button" class="link" data-testid="add-address" onClick={() => setAddressing(true)}>
          Add by address
        </button>
      )}
      {addressing && <AddAddressDialog collection={collection} onClose={() => setAddressing(false)} />}
    </div>
  );
}
