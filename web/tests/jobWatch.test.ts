import { describe, expect, it, vi } from "vitest";
import { hasEnded } from "../src/api/jobStream";
import type { Job, JobState } from "../src/api/types";
import { JobWatch } from "../src/state/jobWatch";

function job(id: string, state: JobState): Job {
  return {
    id,
    state,
    stage: null,
    progress: null,
    kind: "ingest",
    document_id: null,
    attempt: 1,
    failures: 0,
    created_at: "2026-01-05T10:00:00Z",
    started_at: null,
    finished_at: null,
    request_id: null,
    queue_position: null,
    error: null,
    statistics: {},
  };
}

/** Jobs in memory: a stream tells of its job each time `set` changes it. */
class Jobs {
  readonly states = new Map<string, JobState>();
  open = 0;
  mostOpen = 0;
  private readonly changed = new Map<string, () => void>();

  set(id: string, state: JobState): void {
    this.states.set(id, state);
    this.changed.get(id)?.();
  }

  async *follow(id: string): AsyncGenerator<Job> {
    this.open += 1;
    this.mostOpen = Math.max(this.mostOpen, this.open);
    try {
      for (;;) {
        const current = this.now(id);
        yield current;
        if (hasEnded(current.state)) return;
        await new Promise<void>((resolve) => this.changed.set(id, resolve));
      }
    } finally {
      this.open -= 1;
    }
  }

  now(id: string): Job {
    const state = this.states.get(id);
    if (!state) throw new Error(`no job ${id}`);
    return job(id, state);
  }
}

function start(jobs: Jobs, ids: string[]) {
  const seen = new Map<string, JobState>();
  const lost: string[] = [];
  const controller = new AbortController();
  const watch = new JobWatch({
    source: {
      follow: (id) => jobs.follow(id),
      read: (id) => Promise.resolve().then(() => jobs.now(id)),
      pause: () => new Promise((resolve) => setTimeout(resolve, 1)),
    },
    onJob: ({ id, state }) => seen.set(id, state),
    onLost: (id) => lost.push(id),
    signal: controller.signal,
  });
  ids.forEach((id) => watch.add(id));
  return { seen, lost, watch, controller };
}

describe("JobWatch", () => {
  it("sees every job end, over two streams at most", async () => {
    const jobs = new Jobs();
    const ids = Array.from({ length: 12 }, (_, index) => `job_${index}`);
    ids.forEach((id) => jobs.set(id, "queued"));
    const { seen } = start(jobs, ids);
    await vi.waitFor(() => expect(seen.size).toBe(12));
    ids.forEach((id) => jobs.set(id, "running"));
    await vi.waitFor(() => expect(new Set(seen.values())).toEqual(new Set(["running"])));
    [...ids].reverse().forEach((id) => jobs.set(id, "succeeded"));
    await vi.waitFor(() => expect(new Set(seen.values())).toEqual(new Set(["succeeded"])));
    expect(jobs.mostOpen).toBe(2);
    await vi.waitFor(() => expect(jobs.open).toBe(0));
  });

  it("reports a job that cannot be watched, and goes on with the others", async () => {
    const jobs = new Jobs();
    ["b", "c", "d"].forEach((id) => jobs.set(id, "succeeded"));
    const { seen, lost } = start(jobs, ["gone", "b", "c", "d"]);
    await vi.waitFor(() => expect(seen.size).toBe(3));
    expect(lost).toEqual(["gone"]);
  });

  it("watches a job again after it was retried", async () => {
    const jobs = new Jobs();
    jobs.set("a", "failed");
    const { seen, watch } = start(jobs, ["a"]);
    await vi.waitFor(() => expect(jobs.open).toBe(0));
    expect(seen.get("a")).toBe("failed");
    jobs.set("a", "queued");
    watch.add("a");
    await vi.waitFor(() => expect(seen.get("a")).toBe("queued"));
    jobs.set("a", "succeeded");
    await vi.waitFor(() => expect(seen.get("a")).toBe("succeeded"));
  });

  it("opens nothing more once it was stopped", async () => {
    const jobs = new Jobs();
    ["a", "b", "c"].forEach((id) => jobs.set(id, "queued"));
    const { watch, controller, seen } = start(jobs, ["a", "b"]);
    await vi.waitFor(() => expect(seen.size).toBe(2));
    controller.abort();
    watch.add("c");
    jobs.set("a", "succeeded");
    await vi.waitFor(() => expect(jobs.open).toBe(1));
    expect(seen.has("c")).toBe(false);
  });
});
