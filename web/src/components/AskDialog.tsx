import { useState } from "preact/hooks";
import { Dialog } from "./Dialog";
import { ProblemNote } from "./ProblemNote";

interface Props {
  title: string;
  label: string;
  type: "text" | "url";
  placeholder?: string;
  hint?: string;
  action: string;
  /** What tests find the field and the button by. */
  testIds: { field: string; action: string };
  /** Does what was asked for; gives what went wrong, or null. */
  onAnswer: (answer: string) => Promise<string | null>;
  onClose: () => void;
}

/** Asks for one line, and closes when what is done with it went well. */
export function AskDialog({
  title,
  label,
  type,
  placeholder,
  hint,
  action,
  testIds,
  onAnswer,
  onClose,
}: Props) {
  const [answer, setAnswer] = useState("");
  const [problem, setProblem] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    setBusy(true);
    const note = await onAnswer(answer.trim());
    setBusy(false);
    if (note === null) onClose();
    else setProblem(note);
  };

  return (
    <Dialog title={title} onClose={onClose}>
      <form onSubmit={(event) => void submit(event)}>
        {problem !== null && <ProblemNote note={problem} />}
        <label class="field">
          <span>{label}</span>
          <input
            type={type}
            required
            autocomplete="off"
            placeholder={placeholder}
            value={answer}
            data-testid={testIds.field}
            onInput={(event) => setAnswer(event.currentTarget.value)}
          />
        </label>
        {hint !== undefined && <p class="muted">{hint}</p>}
        <div class="actions">
          <button type="button" class="button" onClick={onClose}>
            Cancel
          </button>
          <button
            type="submit"
            class="button primary"
            disabled={busy || answer.trim() === ""}
            data-testid={testIds.action}
          >
            {action}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
