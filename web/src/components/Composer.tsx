import { useState } from "preact/hooks";
import type { Collection } from "../api/types";
import { askQuestion, runningTurn, stop } from "../state/conversation";

/** Where a question is written. Enter asks, Shift and Enter begin a new line. */
export function Composer({ collection }: { collection: Collection }) {
  const [question, setQuestion] = useState("");
  const running = runningTurn.value;
  const ready = question.trim() !== "" && running === null;

  const submit = (event: Event) => {
    event.preventDefault();
    if (!ready) return;
    setQuestion("");
    void askQuestion(collection.id, question.trim());
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submit(event);
  };

  return (
    <form class="composer" onSubmit={submit}>
      <label class="visually-hidden" for="question">
        Question
      </label>
      <textarea
        id="question"
        rows={2}
        placeholder="Ask a question about these documents"
        aria-describedby="question-hint"
        data-testid="question"
        value={question}
        onInput={(event) => setQuestion(event.currentTarget.value)}
        onKeyDown={onKeyDown}
      />
      {running ? (
        <button
          type="button"
          class="button"
          data-testid="stop"
          disabled={running.stopping}
          onClick={() => void stop(running)}
        >
          {running.stopping ? "Stopping…" : "Stop"}
        </button>
      ) : (
        <button type="submit" class="button primary" data-testid="ask" disabled={!ready}>
          Ask
        </button>
      )}
      <p id="question-hint" class="visually-hidden">
        Enter asks, Shift and Enter begin a new line.
      </p>
    </form>
  );
}
