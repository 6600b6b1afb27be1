interface Props {
  marker: string | null;
  document: string;
  page: number | null;
  note: string | null;
  text: string;
  testId: string;
  onOpen: () => void;
}

/** A few words of a document and where they stand; opens them in the reader. */
export function Passage({ marker, document, page, note, text, testId, onOpen }: Props) {
  return (
    <button type="button" class="passage" data-testid={testId} onClick={onOpen}>
      <span class="passage-head">
        {marker !== null && <span class="passage-marker">{marker}</span>}
        <bdi class="file-name">{document}</bdi>
        {page !== null && <span class="muted">page {page}</span>}
        {note !== null && <span class="support-tag">{note}</span>}
      </span>
      <span class="passage-text" dir="auto">
        {text}
      </span>
    </button>
  );
}
