import type { ReaderTarget, ReaderText } from "../state/reader";

interface Props {
  shown: ReaderTarget;
  text: ReaderText;
}

/** Whether the marked words are the quote, as the service checked and as this page sees for itself. */
export function VerifiedLine({ shown, text }: Props) {
  if (text.phase !== "ready" || text.match === "none") return null;
  const { sentence, good } = verdict(shown, text.match);
  if (sentence === null) return null;
  return (
    <p class={good ? "verdict good" : "verdict bad"} data-testid="reader-verdict">
      {sentence}
    </p>
  );
}

function verdict(shown: ReaderTarget, match: "matches" | "differs" | "outside") {
  if (match === "outside") return { good: false, sentence: "The cited place lies outside this text." };
  if (match === "differs")
    return { good: false, sentence: "The marked words differ from the quote in the answer." };
  if (shown.verified === null) return { good: true, sentence: null };
  if (!shown.verified) return { good: false, sentence: "This quote was not verified." };
  return { good: true, sentence: `Verified against version ${shown.version}.` };
}
