import type { Hit } from "../api/types";
import type { AnswerView } from "../state/answer";
import { fromHit, openReader } from "../state/reader";
import { reasonOf } from "../words";
import { Passage } from "./Passage";

/** Says that the documents do not hold an answer, why, and what comes nearest. */
export function Refusal({ answer }: { answer: AnswerView }) {
  const { reason, nearest } = answer;
  return (
    <div class="refusal" data-testid="refusal">
      <div>
        <p class="refusal-title">The documents do not hold an answer to this.</p>
        {reasonOf(reason) !== null && <p>{reasonOf(reason)}</p>}
      </div>
      {nearest.length > 0 && (
        <section class="sources">
          <h4>Nearest passages</h4>
          <ol>
            {nearest.map((hit) => (
              <li key={`${hit.document_id}-${hit.version}-${hit.start}`}>
                <NearestPassage hit={hit} />
              </li>
            ))}
          </ol>
        </section>
      )}
    </div>
  );
}

function NearestPassage({ hit }: { hit: Hit }) {
  return (
    <Passage
      marker={null}
      document={hit.document}
      page={hit.page}
      note={null}
      text={hit.text}
      testId="nearest-passage"
      onOpen={() => void openReader(fromHit(hit))}
    />
  );
}
