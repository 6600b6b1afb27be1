import { useState } from "preact/hooks";
import { announce } from "../state/announcements";
import { chosen } from "../state/collections";
import { entries } from "../state/documents";
import { leave, mayEdit, session } from "../state/session";
import { CollectionChooser } from "./CollectionChooser";
import { NewCollectionDialog } from "./NewCollectionDialog";

interface Props {
  covered: boolean;
  documentsOpen: boolean;
  onToggleDocuments: () => void;
}

/** The bar at the top: which collection, and who is signed in. */
export function Header({ covered, documentsOpen, onToggleDocuments }: Props) {
  const [naming, setNaming] = useState(false);
  return (
    <header class="top" inert={covered}>
      <h1 class="brand">
        <img src="/favicon.svg" alt="" width="28" height="28" />
        <span>Ibid</span>
      </h1>
      <CollectionChooser />
      {mayEdit.value && (
        <button
          type="button"
          class="button quiet new-collection"
          data-testid="new-collection"
          onClick={() => setNaming(true)}
        >
          <span aria-hidden="true">+ </span>New<span class="visually-hidden"> collection</span>
        </button>
      )}
      <span class="spacer" />
      <Who />
      {chosen.value && (
        <button
          type="button"
          class="button quiet documents-toggle"
          aria-expanded={documentsOpen}
          aria-controls="documents"
          data-testid="documents-toggle"
          onClick={onToggleDocuments}
        >
          Documents ({entries.value.length})
        </button>
      )}
      {naming && <NewCollectionDialog onClose={() => setNaming(false)} />}
    </header>
  );
}

function Who() {
  if (session.value.phase !== "signed_in") return null;
  const { name, role } = session.value.session;
  return (
    <span class="who">
      <span class="who-name">
        {name} <span class="muted">({role})</span>
      </span>
      <button type="button" class="button quiet" data-testid="sign-out" onClick={() => void signOutAndSay()}>
        Sign out
      </button>
    </span>
  );
}

async function signOutAndSay() {
  announce((await leave()) ?? "You are signed out.");
}
