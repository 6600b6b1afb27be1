// @vitest-environment happy-dom
import { render } from "preact";
import { expect, it, vi } from "vitest";
import type { Collection, Job } from "../src/api/types";
import { FailedJobs } from "../src/components/FailedJobs";
import { failures } from "../src/state/failures";
import { serve } from "./testServer";

function failed(n: number): Job {
  return { id: `job_${n}`, kind: "ingest", document_id: `doc_${n}`, finished_at: null, error: null } as Job;
}

it("names the documents of jobs that fail while the list is open", async () => {
  const jobs = [failed(1)];
  await serve((request, response) => {
    const [, id] = /documents\/(\w+)/.exec(request.url ?? "") ?? [];
    const body = id === undefined ? { data: jobs, next: null } : { name: `${id}.pdf` };
    response.writeHead(200, { "Access-Control-Allow-Origin": "*" }).end(JSON.stringify(body));
  });
  const root = document.createElement("div");
  document.body.append(root);
  render(<FailedJobs collection={{ id: "col_1" } as Collection} />, root);
  const names = () => [...root.querySelectorAll(".file-name")].map((name) => name.textContent);
  await vi.waitFor(() => expect(names()).toEqual(["A document"]));
  root.querySelectorAll("details").forEach((list) => {
    list.open = true;
    list.dispatchEvent(new Event("toggle"));
  });
  await vi.waitFor(() => expect(names()).toEqual(["doc_1.pdf"]));
  failures.value = { collection: "col_1", jobs: [failed(1), failed(2)], more: false, note: null };
  await vi.waitFor(() => expect(names()).toEqual(["doc_1.pdf", "doc_2.pdf"]));
});
