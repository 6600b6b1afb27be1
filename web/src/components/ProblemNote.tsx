interface Props {
  note: string;
  onRetry?: () => void;
  retryLabel?: string;
}

/** A sentence on what went wrong, and a button where trying again can help. */
export function ProblemNote({ note, onRetry, retryLabel = "Try again" }: Props) {
  return (
    <div class="problem" role="alert" data-testid="problem">
      <p>{note}</p>
      {onRetry && (
        <button type="button" class="button" onClick={onRetry}>
          {retryLabel}
        </button>
      )}
    </div>
  );
}
