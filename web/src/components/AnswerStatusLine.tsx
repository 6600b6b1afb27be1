import type { Sentence, Support } from "../api/types";
import { type AnswerView, isRunning } from "../state/answer";
import type { Turn } from "../state/conversation";
import { counted } from "../words";

/** One line on how an answer goes, or how well it is supported; also said aloud. */
export function AnswerStatusLine({ turn }: { turn: Turn }) {
  const { answer, connected } = turn;
  return (
    <p class="answer-status" role="status" data-testid="answer-status">
      {connected ? sentenceOn(answer) : "The connection broke. Reconnecting…"}
    </p>
  );
}

function sentenceOn(answer: AnswerView): string {
  const { phase, passages } = answer;
  if (phase === "searching") return "Searching the documents…";
  if (isRunning(phase))
    return passages === null ? "Answering…" : `Answering from ${counted(passages, "passage")}…`;
  if (phase === "cancelled") return ["Stopped.", summary(answer.sentences)].join(" ").trim();
  if (phase === "completed") return summary(answer.sentences);
  return "";
}

const NAMES: [Support, string][] = [
  ["verified", "verified"],
  ["partially_supported", "partly supported"],
  ["unsupported", "not supported"],
];

function summary(sentences: Sentence[]): string {
  const kept = sentences.filter(({ withdrawn }) => !withdrawn);
  const parts = NAMES.map(([support, name]) => ({
    name,
    count: kept.filter((one) => one.support === support).length,
  }));
  const told = parts.filter(({ count }) => count > 0).map(({ name, count }) => `${count} ${name}`);
  return told.length === 0 ? "" : `${counted(kept.length, "sentence")}: ${told.join(", ")}.`;
}
