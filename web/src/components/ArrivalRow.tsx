import { hasEnded } from "../api/jobStream";
import type { Job } from "../api/types";
import { type Arrival, cancelArrival, dismissArrival, endingOf, retryArrival } from "../state/arrivals";
import { JobProgress } from "./JobProgress";
import { StateBadge } from "./StateBadge";

/** An archive that is unpacked or an address that is fetched, and what of it became no document. */
export function ArrivalRow({ arrival }: { arrival: Arrival }) {
  const { jobId, name, job, note } = arrival;
  const state = job?.state ?? "queued";
  const of = <span class="visually-hidden">: {name}</span>;
  return (
    <li class="document-row" data-testid="arrival-row" data-name={name} data-state={state}>
      <div class="row-head">
        <bdi class="file-name">{name}</bdi>
        <StateBadge state={state} />
      </div>
      <JobProgress name={name} state={state} job={job} />
      {state === "partially_succeeded" && job && <p class="row-note">{endingOf(job)}</p>}
      {job && hasEnded(state) && <Refused job={job} />}
      {note !== null && <p class="row-note">{note}</p>}
      <div class="row-actions">
        {!hasEnded(state) && (
          <button type="button" class="link" onClick={() => void cancelArrival(jobId)}>
            Cancel{of}
          </button>
        )}
        {(state === "failed" || state === "cancelled") && (
          <button type="button" class="link" onClick={() => void retryArrival(jobId)}>
            Retry{of}
          </button>
        )}
        {hasEnded(state) && (
          <button type="button" class="link" onClick={() => dismissArrival(jobId)}>
            Dismiss{of}
          </button>
        )}
      </div>
    </li>
  );
}

function Refused({ job }: { job: Job }) {
  const { refusals = [], more_refusals = 0 } = job.statistics;
  if (refusals.length === 0) return null;
  return (
    <details class="fold" open={refusals.length <= 3}>
      <summary>{refusals.length + more_refusals} not taken</summary>
      <ul class="plain-list">
        {refusals.map(({ path, message }) => (
          <li key={path} class="row-note" data-testid="refusal-of-file">
            <bdi class="file-name strong">{path}</bdi> {message}
          </li>
        ))}
        {more_refusals > 0 && <li class="row-note">and {more_refusals} more</li>}
      </ul>
    </details>
  );
}
