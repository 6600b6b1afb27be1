import { jobEventsAddress } from "./routes";
import { followEvents, openEvents } from "./sse";
import type { Job, JobState } from "./types";

const ENDED: ReadonlySet<JobState> = new Set(["succeeded", "partially_succeeded", "failed", "cancelled"]);

export function hasEnded(state: JobState): boolean {
  return ENDED.has(state);
}

/** A job each time it changes, until it has ended. */
export async function* followJob(id: string, signal: AbortSignal): AsyncGenerator<Job> {
  const address = jobEventsAddress(id);
  const events = followEvents(null, {
    signal,
    resume: (lastEventId) => openEvents(address, lastEventId, signal),
    last: (event) => event.event === "job" && hasEnded((JSON.parse(event.data) as Job).state),
  });
  for await (const event of events) {
    if (event.event === "job") yield JSON.parse(event.data) as Job;
  }
}
