import type { Difference, Piece } from "../api/types";
import { openReader, type ReaderTarget } from "../state/reader";
import { counted } from "../words";

interface Props {
  shown: ReaderTarget;
  difference: Difference;
}

/** What one version has that another has not, and the other way round; each piece leads to where it stands. */
export function Comparison({ shown, difference }: Props) {
  const { version, against, added, removed, coarse } = difference;
  if (added.length + removed.length === 0) {
    return (
      <p class="reader-wait muted" data-testid="no-difference">
        The words of version {version} and version {against} are the same.
      </p>
    );
  }
  return (
    <div class="reader-body comparison" tabIndex={-1} data-testid="comparison">
      {coarse && (
        <p class="muted">
          These versions differ so much that all between their equal beginnings and ends is shown.
        </p>
      )}
      <Pieces kind="added" pieces={added} version={version} shown={shown} />
      <Pieces kind="removed" pieces={removed} version={against} shown={shown} />
    </div>
  );
}

interface PiecesProps {
  kind: "added" | "removed";
  pieces: Piece[];
  version: number;
  shown: ReaderTarget;
}

function Pieces({ kind, pieces, version, shown }: PiecesProps) {
  if (pieces.length === 0) return null;
  const open = ({ start, end, text }: Piece) =>
    void openReader({ ...shown, version, span: { start, end }, quote: text, verified: null, against: null });
  return (
    <section>
      <h3 class="details-title">
        {counted(pieces.length, "place")} only in version {version}
      </h3>
      <ol class="pieces">
        {pieces.map((piece) => (
          <li key={piece.start}>
            <button
              type="button"
              class={`piece ${kind}`}
              data-testid={`piece-${kind}`}
              onClick={() => open(piece)}
            >
              <span class="piece-text" dir="auto">
                {piece.text}
              </span>
              <span class="visually-hidden"> Read where it stands in version {version}.</span>
            </button>
          </li>
        ))}
      </ol>
    </section>
  );
}
