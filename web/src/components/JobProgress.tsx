import { hasEnded } from "../api/jobStream";
import type { Job, JobState } from "../api/types";
import { stageOf } from "../words";

interface Props {
  name: string;
  state: JobState;
  job: Job | null;
}

/** What a job is doing and how far it has come, why it failed, or what it left out. */
export function JobProgress({ name, state, job }: Props) {
  if (state === "partially_succeeded") {
    const warnings = job?.statistics.warnings ?? [];
    return (
      <>
        {warnings.map((warning) => (
          <p key={warning} class="row-note" data-testid="job-warning">
            {warning}
          </p>
        ))}
      </>
    );
  }
  // A job that succeeded in the end may still carry what its first attempt died of.
  if (job?.error && hasEnded(state) && state !== "succeeded") {
    return (
      <p class="row-note bad" data-testid="job-error">
        {job.error.message} <code class="muted">{job.error.code}</code>
      </p>
    );
  }
  if (hasEnded(state)) return null;
  return (
    <>
      <Bar name={name} job={job} />
      <p class="row-note">{sentenceOn(state, job)}</p>
    </>
  );
}

function Bar({ name, job }: { name: string; job: Job | null }) {
  const { done, total } = job?.progress ?? { done: 0, total: null };
  const label = `Progress of ${name}`;
  if (!total) return <progress aria-label={label} />;
  return <progress aria-label={label} max={total} value={Math.min(done, total)} />;
}

function sentenceOn(state: JobState, job: Job | null): string {
  if (state === "stalled") return "No sign of life from its worker. It will be started again by itself.";
  if (state === "queued") {
    const place = job?.queue_position ?? 0;
    return place > 0 ? `Waiting, number ${place} in the queue` : "Waiting for a worker";
  }
  const { done = 0, total = null, unit = "" } = job?.progress ?? {};
  const count = total ? `, ${done} of ${total} ${unit}` : "";
  const again = job && job.attempt > 1 ? `, attempt ${job.attempt}` : "";
  return `${stageOf(job?.stage ?? null)}${count}${again}`;
}
