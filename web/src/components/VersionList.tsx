import { useState } from "preact/hooks";
import type { DocumentVersion, StoredDocument } from "../api/types";
import { restore } from "../state/details";
import { fromDocument, fromVersions, openReader } from "../state/reader";
import { mayEdit } from "../state/session";
import { momentOf, sizeOf } from "../words";
import { ProblemNote } from "./ProblemNote";

interface Props {
  document: StoredDocument;
  versions: DocumentVersion[];
}

/** The versions of a document, newest first, each to be read, compared with the one before it, or restored. */
export function VersionList({ document, versions }: Props) {
  const [problem, setProblem] = useState<string | null>(null);
  if (versions.length < 2) return null;
  const putBack = async (number: number) => setProblem(await restore(document, number));
  return (
    <section>
      <h3 class="details-title">Versions</h3>
      {problem !== null && <ProblemNote note={problem} />}
      <ol class="versions">
        {versions.map((version) => (
          <VersionItem key={version.number} document={document} version={version} onRestore={putBack} />
        ))}
      </ol>
    </section>
  );
}

interface ItemProps {
  document: StoredDocument;
  version: DocumentVersion;
  onRestore: (number: number) => Promise<void>;
}

function VersionItem({ document, version, onRestore }: ItemProps) {
  const { number, created_at, size, read_by } = version;
  const live = number === document.live_version;
  const of = <span class="visually-hidden"> version {number}</span>;
  return (
    <li class="version" data-testid="version" data-number={number} data-live={live}>
      <p>
        <span class="strong">Version {number}</span>
        {live && <span class="live-version">answers come from it</span>}
        <span class="muted version-facts">
          {momentOf(created_at)} · {sizeOf(size)}
          {read_by === "ocr" && " · with OCR"}
        </span>
      </p>
      <span class="row-actions">
        <button
          type="button"
          class="link"
          data-testid="read-version"
          onClick={() => void openReader(fromDocument(document, number))}
        >
          Read{of}
        </button>
        <button
          type="button"
          class="link"
          data-testid="compare-version"
          onClick={() => void openReader(fromVersions(document, number, number > 1 ? number - 1 : 2))}
        >
          Compare{of}
        </button>
        {mayEdit.value && number !== document.version && (
          <button
            type="button"
            class="link"
            data-testid="restore-version"
            onClick={() => void onRestore(number)}
          >
            Restore{of}
          </button>
        )}
      </span>
    </li>
  );
}
