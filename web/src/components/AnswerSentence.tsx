import type { Citation, Sentence, Support } from "../api/types";
import { CitationMarker } from "./CitationMarker";

const SPOKEN: Record<Support, string> = {
  verified: "Verified.",
  partially_supported: "Partly supported.",
  unsupported: "Not supported by the documents.",
};

const SHOWN: Record<Support, string | null> = {
  verified: null,
  partially_supported: "partly supported",
  unsupported: "not supported",
};

/** A marker stays on the line of the last word, unless that word is longer than this and must break itself. */
const LONGEST_KEPT = 24;

interface Props {
  sentence: Sentence;
  citations: Citation[];
}

/** One sentence, how far the cited words carry it, and the markers that lead to them. */
export function AnswerSentence({ sentence, citations }: Props) {
  const { text, support, withdrawn } = sentence;
  if (withdrawn) {
    return <p class="withdrawn">A sentence was taken out: the document it rests on was deleted.</p>;
  }
  const cut = text.trimEnd().lastIndexOf(" ") + 1;
  const marker = (n: number) => (
    <CitationMarker key={n} n={n} citation={citations.find((one) => one.n === n) ?? null} />
  );
  return (
    <span class={`sentence sentence-${support}`} data-testid="answer-sentence" data-support={support}>
      <span class="sentence-text" dir="auto">
        {text.slice(0, cut)}
        <span class={text.length - cut > LONGEST_KEPT ? undefined : "keep-together"}>
          {text.slice(cut)}
          {sentence.citations.slice(0, 1).map(marker)}
        </span>
      </span>
      {sentence.citations.slice(1).map(marker)}
      {SHOWN[support] !== null && (
        <span class="support-tag" aria-hidden="true">
          {SHOWN[support]}
        </span>
      )}
      <span class="visually-hidden"> {SPOKEN[support]}</span>{" "}
    </span>
  );
}
