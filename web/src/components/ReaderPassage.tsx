import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { excerpt, grow, type Span } from "../spans";

/** UTF-16 units shown around the mark at first, and added each time more is asked for. */
const AROUND = 12_000;
const MORE = 40_000;

interface Props {
  text: string;
  /** In UTF-16 units; null to show the text from its start. */
  marked: Span | null;
  label: string;
}

/** A window of a text, however long the text is, with a span marked, in view and in focus. */
export function ReaderPassage({ text, marked, label }: Props) {
  const at = marked ?? { start: 0, end: 0 };
  const [shown, setShown] = useState(() => grow(text, at, AROUND));
  const mark = useRef<HTMLElement>(null);
  const body = useRef<HTMLDivElement>(null);
  const heightBelow = useRef<number | null>(null);

  useEffect(() => {
    (mark.current ?? body.current)?.focus({ preventScroll: true });
    mark.current?.scrollIntoView({ block: "center" });
  }, []);

  useLayoutEffect(() => {
    // Text added above must not push away the lines that are being read.
    if (body.current && heightBelow.current !== null) {
      body.current.scrollTop = body.current.scrollHeight - heightBelow.current;
    }
    heightBelow.current = null;
  }, [shown.start]);

  const showEarlier = () => {
    heightBelow.current = body.current ? body.current.scrollHeight - body.current.scrollTop : null;
    setShown(grow(text, shown, { before: MORE, after: 0 }));
  };
  const showLater = () => setShown(grow(text, shown, { before: 0, after: MORE }));

  const { before, marked: words, after } = excerpt(text, shown, at);
  return (
    <div
      class="reader-body"
      ref={body}
      tabIndex={-1}
      role="region"
      aria-label={`Text of ${label}`}
      data-testid="reader-text"
    >
      {shown.start > 0 && (
        <button type="button" class="button more" onClick={showEarlier}>
          Show earlier text
        </button>
      )}
      <div class="document-text" dir="auto">
        {before}
        {marked && (
          <mark ref={mark} tabIndex={-1} data-testid="quote-mark">
            {words}
          </mark>
        )}
        {after}
      </div>
      {text === "" && <p class="muted">This document has no text.</p>}
      {shown.end < text.length && (
        <button type="button" class="button more" onClick={showLater}>
          Show later text
        </button>
      )}
    </div>
  );
}
