import type { Citation } from "../api/types";
import { fromCitation, openReader } from "../state/reader";

interface Props {
  n: number;
  /** Null until the citation's own event has come. */
  citation: Citation | null;
}

/** The number after a sentence that opens the words it rests on. */
export function CitationMarker({ n, citation }: Props) {
  return (
    <button
      type="button"
      class="citation"
      data-testid="citation"
      data-n={n}
      disabled={citation === null}
      aria-label={labelOf(n, citation)}
      onClick={() => citation && void openReader(fromCitation(citation))}
    >
      {n}
    </button>
  );
}

function labelOf(n: number, citation: Citation | null): string {
  if (!citation) return `Citation ${n}`;
  const page = citation.page === null ? "" : `, page ${citation.page}`;
  return `Citation ${n}: ${citation.document}${page}`;
}
