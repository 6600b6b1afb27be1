import { reconnect, type Turn } from "../state/conversation";
import { AnswerBody } from "./AnswerBody";
import { AnswerStatusLine } from "./AnswerStatusLine";
import { ProblemNote } from "./ProblemNote";
import { Refusal } from "./Refusal";
import { Sources } from "./Sources";
import { reasonOf } from "../words";

/** A question and, as far as it has come, its answer. */
export function TurnView({ turn }: { turn: Turn }) {
  const { question, answer } = turn;
  return (
    <li class="turn" data-testid="turn" data-status={answer.phase} aria-labelledby={`question-${turn.key}`}>
      <h3 id={`question-${turn.key}`} class="question" dir="auto">
        {question}
      </h3>
      {answer.phase === "refused" ? <Refusal answer={answer} /> : <AnswerBody answer={answer} />}
      <Failure turn={turn} />
      <AnswerStatusLine turn={turn} />
      <Sources answer={answer} />
    </li>
  );
}

function Failure({ turn }: { turn: Turn }) {
  const { phase, reason } = turn.answer;
  if (phase === "interrupted") {
    return (
      <ProblemNote
        note="The connection to this answer was lost. It may have gone on without this page."
        retryLabel="Reconnect"
        onRetry={() => void reconnect(turn)}
      />
    );
  }
  if (phase !== "failed") return null;
  return <ProblemNote note={reasonOf(reason) ?? "The answer failed. Ask again."} />;
}
