import { useEffect } from "preact/hooks";
import { originalAddress } from "../api/routes";
import {
  closeReader,
  giveFocusBack,
  openReader,
  readerText,
  type ReaderTarget,
  target,
} from "../state/reader";
import { Comparison } from "./Comparison";
import { ProblemNote } from "./ProblemNote";
import { ReaderPassage } from "./ReaderPassage";
import { VerifiedLine } from "./VerifiedLine";

/** The panel that shows the canonical text of a document, with the cited words marked. Escape closes it. */
export function Reader({ covers }: { covers: boolean }) {
  const shown = target.value;
  const isOpen = shown !== null;
  useEffect(() => {
    if (!isOpen) return;
    const onKeyDown = (event: KeyboardEvent) => {
      // A dialog above the reader closes itself first.
      if (event.key === "Escape" && !document.querySelector("dialog[open]")) closeReader();
    };
    window.addEventListener("keydown", onKeyDown);
    return () => {
      window.removeEventListener("keydown", onKeyDown);
      giveFocusBack();
    };
  }, [isOpen]);
  if (!shown) return null;
  return (
    <aside
      class="reader"
      data-reader
      data-testid="reader"
      aria-labelledby="reader-title"
      aria-modal={covers || undefined}
      role={covers ? "dialog" : undefined}
    >
      <ReaderHead shown={shown} />
      <ReaderBody shown={shown} />
    </aside>
  );
}

function ReaderHead({ shown }: { shown: ReaderTarget }) {
  return (
    <header class="reader-head">
      <div class="reader-name">
        <h2 id="reader-title" data-testid="reader-document">
          <bdi>{shown.document}</bdi>
        </h2>
        <button type="button" class="button quiet" data-testid="reader-close" onClick={closeReader}>
          Close<span class="visually-hidden"> the reader</span>
        </button>
      </div>
      <p class="reader-facts">
        <span>Version {shown.version}</span>
        <Against shown={shown} />
        {shown.page !== null && <span data-testid="reader-page">Page {shown.page}</span>}
        <a href={originalAddress(shown.documentId, shown.version)} download={shown.document}>
          Download the original
        </a>
      </p>
      <VerifiedLine shown={shown} text={readerText.value} />
    </header>
  );
}

/** The choice of the version to compare with, where two are compared. */
function Against({ shown }: { shown: ReaderTarget }) {
  const { version, against } = shown;
  if (!against) return null;
  const others = Array.from({ length: against.of }, (_, index) => index + 1).filter((one) => one !== version);
  const choose = (number: number) => void openReader({ ...shown, against: { ...against, number } });
  return (
    <label class="against">
      compared with
      <select
        value={against.number}
        data-testid="compare-against"
        onChange={(event) => choose(Number(event.currentTarget.value))}
      >
        {others.map((number) => (
          <option key={number} value={number}>
            version {number}
          </option>
        ))}
      </select>
    </label>
  );
}

function ReaderBody({ shown }: { shown: ReaderTarget }) {
  const state = readerText.value;
  if (state.phase === "loading") return <p class="reader-wait muted">Loading the text…</p>;
  if (state.phase === "failed")
    return <ProblemNote note={state.note} onRetry={() => void openReader(shown)} />;
  if (state.phase === "compared") return <Comparison shown={shown} difference={state.difference} />;
  return <ReaderPassage key={keyOf(shown)} text={state.text} marked={state.marked} label={shown.document} />;
}

function keyOf({ documentId, version, span }: ReaderTarget): string {
  return [documentId, version, span?.start, span?.end].join(":");
}
