import type { Citation } from "../api/types";
import type { AnswerView } from "../state/answer";
import { fromCitation, openReader } from "../state/reader";
import { Passage } from "./Passage";

/** The words an answer rests on, in the order of their numbers. */
export function Sources({ answer }: { answer: AnswerView }) {
  if (answer.citations.length === 0) return null;
  return (
    <section class="sources">
      <h4>Sources</h4>
      <ol>
        {answer.citations.map((citation) => (
          <li key={citation.n}>
            <Passage
              marker={String(citation.n)}
              document={citation.document}
              page={citation.page}
              note={noteOn(citation)}
              text={citation.quote}
              testId="source"
              onOpen={() => void openReader(fromCitation(citation))}
            />
          </li>
        ))}
      </ol>
    </section>
  );
}

function noteOn({ verified }: Citation): string | null {
  return verified ? null : "not verified";
}
