import { useEffect, useState } from "preact/hooks";
import { useFileDrop } from "../hooks/useFileDrop";
import { useMediaQuery } from "../hooks/useMediaQuery";
import { announce } from "../state/announcements";
import { chosen, collectionsPhase, loadCollections } from "../state/collections";
import { target } from "../state/reader";
import { mayEdit } from "../state/session";
import { addFiles } from "../state/uploads";
import { Conversation } from "./Conversation";
import { DocumentsPanel } from "./DocumentsPanel";
import { Header } from "./Header";
import { NoCollection } from "./NoCollection";
import { ProblemNote } from "./ProblemNote";
import { Reader } from "./Reader";

/** Below this width the reader covers the page instead of standing beside it. */
const NARROW = "(max-width: 64rem)";

/** The page of a signed-in person: documents, questions and answers, and the reader beside them. */
export function Workspace() {
  const [documentsOpen, setDocumentsOpen] = useState(false);
  const collection = chosen.value;
  const reading = target.value !== null;
  const covered = useMediaQuery(NARROW) && reading;

  useEffect(() => void loadCollections(), []);
  const dragging = useFileDrop((files) => {
    if (collection && mayEdit.value) addFiles(collection.id, files);
    else announce("Files cannot be added here.");
  });

  return (
    <div class={reading ? "workspace reading" : "workspace"}>
      <a class="skip-link" href="#question" onClick={skipToQuestion}>
        Skip to the question
      </a>
      <Header
        covered={covered}
        documentsOpen={documentsOpen}
        onToggleDocuments={() => setDocumentsOpen(!documentsOpen)}
      />
      <div class="columns">
        {collection ? (
          <>
            <DocumentsPanel
              collection={collection}
              open={documentsOpen}
              covered={covered}
              dragging={dragging}
            />
            <Conversation collection={collection} covered={covered} />
          </>
        ) : (
          <Unchosen />
        )}
        <Reader covers={covered} />
      </div>
    </div>
  );
}

function Unchosen() {
  const phase = collectionsPhase.value;
  if (phase.name === "loading") return <p class="splash">Loading collections…</p>;
  if (phase.name === "failed") {
    return (
      <main class="splash">
        <ProblemNote note={phase.note} onRetry={() => void loadCollections()} />
      </main>
    );
  }
  return <NoCollection />;
}

function skipToQuestion(event: MouseEvent) {
  event.preventDefault();
  document.getElementById("question")?.focus();
}
