import { type AnswerView, isRunning } from "../state/answer";
import { AnswerSentence } from "./AnswerSentence";

/** The sentences of an answer, each with how far it is supported. */
export function AnswerBody({ answer }: { answer: AnswerView }) {
  const running = isRunning(answer.phase);
  return (
    <div class="answer" aria-live="polite">
      {answer.sentences.map((sentence, index) => (
        <AnswerSentence key={index} sentence={sentence} citations={answer.citations} />
      ))}
      {running && <span class="writing" aria-hidden="true" />}
    </div>
  );
}
