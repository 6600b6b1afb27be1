// @vitest-environment happy-dom
import { render } from "preact";
import { describe, expect, it } from "vitest";
import type { Job } from "../src/api/types";
import { JobProgress } from "../src/components/JobProgress";

const job: Job = {
  id: "job_1",
  state: "partially_succeeded",
  stage: "indexing",
  progress: null,
  kind: "ingest",
  document_id: "doc_1",
  attempt: 2,
  failures: 0,
  created_at: "2026-01-05T10:00:00Z",
  started_at: null,
  finished_at: null,
  request_id: null,
  queue_position: null,
  error: { code: "vector_store_unavailable", message: "What the first attempt died of." },
  statistics: { warnings: ["Page 2 could not be read.", "3 words were left out."] },
};

describe("JobProgress", () => {
  it("says what is missing of a document that is partly ready", () => {
    const root = document.createElement("div");
    render(<JobProgress name="plan.pdf" state={job.state} job={job} />, root);
    const notes = [...root.querySelectorAll("[data-testid=job-warning]")].map((note) => note.textContent);
    expect(notes).toEqual(job.statistics.warnings);
    expect(root.textContent).not.toContain("died");
  });

  it("says why a document failed, with the code that programs know it by", () => {
    const root = document.createElement("div");
    render(<JobProgress name="plan.pdf" state="failed" job={{ ...job, state: "failed" }} />, root);
    expect(root.textContent).toBe("What the first attempt died of. vector_store_unavailable");
  });

  it("says how far a job is, and that it was tried before", () => {
    const root = document.createElement("div");
    const running: Job = { ...job, state: "running", progress: { done: 3, total: 12, unit: "entries" } };
    render(<JobProgress name="plan.zip" state="running" job={{ ...running, stage: "unpacking" }} />, root);
    expect(root.textContent).toBe("Unpacking, 3 of 12 entries, attempt 2");
  });
});
