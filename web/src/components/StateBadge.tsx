import type { JobState } from "../api/types";
import type { Upload } from "../state/uploads";

const LABELS: Record<JobState | Upload["state"], string> = {
  archive: "An archive",
  waiting: "To be sent",
  uploading: "Sending",
  rejected: "Not accepted",
  queued: "Queued",
  running: "Working",
  stalled: "Stalled",
  succeeded: "Ready",
  partially_succeeded: "Partly ready",
  failed: "Failed",
  cancelled: "Cancelled",
};

/** The state of a document or an upload, in a word. */
export function StateBadge({ state }: { state: JobState | Upload["state"] }) {
  return (
    <span class={`badge badge-${state}`} data-testid="document-state">
      {LABELS[state]}
    </span>
  );
}
