import { useState } from "preact/hooks";
import { mayEdit } from "../state/session";
import { NewCollectionDialog } from "./NewCollectionDialog";

/** The page before there is any collection. */
export function NoCollection() {
  const [naming, setNaming] = useState(false);
  return (
    <main class="splash">
      <div class="card">
        <h1>No collections yet</h1>
        {mayEdit.value ? (
          <>
            <p>A collection holds the documents that your questions are answered from.</p>
            <button type="button" class="button primary" onClick={() => setNaming(true)}>
              Create a collection
            </button>
          </>
        ) : (
          <p>There is no collection that you may read. Ask whoever runs this Ibid to share one with you.</p>
        )}
      </div>
      {naming && <NewCollectionDialog onClose={() => setNaming(false)} />}
    </main>
  );
}
