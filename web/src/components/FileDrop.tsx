import type { Collection } from "../api/types";
import { addFiles } from "../state/uploads";

/** Where to drop files, and the button that does the same. */
export function FileDrop({ collection }: { collection: Collection }) {
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
    </div>
  );
}
