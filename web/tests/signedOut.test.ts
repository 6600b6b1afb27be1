import { Window } from "happy-dom";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { listenForSignedOut } from "../src/api/client";
import { readCollections } from "../src/api/routes";
import type { Job, StoredDocument } from "../src/api/types";
import { announce, announcement } from "../src/state/announcements";
import { arrivals } from "../src/state/arrivals";
import { EMPTY } from "../src/state/answer";
import { chosenId, collections, collectionsPhase, loadCollections } from "../src/state/collections";
import { turns } from "../src/state/conversation";
import { entries } from "../src/state/documents";
import { failedNames, failures, nameFailures, retryFailure } from "../src/state/failures";
import { readerText, target } from "../src/state/reader";
import { enterKey, leave, session, startSession } from "../src/state/session";
import { addFiles, uploads } from "../src/state/uploads";
import { serve } from "./testServer";

type Answers = Record<string, [status: number, body: unknown] | "never" | undefined>;

/** A server that gives each address its answer, everywhere else 200; `seen` are the requests in their order. */
async function answering(answers: Answers): Promise<string[]> {
  const seen: string[] = [];
  const base = await serve((request, response) => {
    const name = `${request.method ?? ""} ${request.url ?? ""}`;
    seen.push(name);
    const answer = answers[name] ?? [200, { name: "Next", role: "editor", data: [], next: null }];
    if (answer !== "never") response.writeHead(answer[0]).end(JSON.stringify(answer[1]));
  });
  const window = new Window({ url: base });
  vi.stubGlobal("window", window);
  vi.stubGlobal("XMLHttpRequest", window.XMLHttpRequest);
  vi.stubGlobal("FormData", window.FormData);
  vi.stubGlobal("File", window.File);
  return seen;
}

function asSomebody(): void {
  session.value = {
    phase: "signed_in",
    session: { name: "First", role: "editor", url_ingestion: false },
  };
}

function work(): void {
  const turn = { key: 1, collection: "col_1", question: "Who is fired?", connected: true, stopping: false };
  turns.value = [{ ...turn, answer: EMPTY }];
  arrivals.value = [{ jobId: "job_1", collection: "col_1", name: "fired.zip", job: null, note: null }];
  failures.value = { collection: "col_1", jobs: [failedJob], more: false, note: null };
  failedNames.value = new Map([["doc_9", "fired.pdf"]]);
  uploads.value = [waiting(), { ...waiting(), key: 2, state: "archive" }];
  target.value = { documentId: "doc_1" } as typeof target.value;
  readerText.value = { phase: "ready", text: "Secret.", marked: null, match: "none" };
  announce("fired.pdf: ready");
  chosenId.value = "col_1";
}

const failedJob = { id: "job_9", kind: "ingest", document_id: "doc_8" } as Job;

function waiting(): (typeof uploads.value)[number] {
  const file = new File(["Secret."], "fired.txt");
  return {
    key: 1,
    collection: "col_1",
    file,
    state: "rejected",
    unpack: false,
    sent: 0,
    problem: null,
  };
}

function left(): unknown[] {
  return [
    ...turns.value,
    ...arrivals.value,
    ...[failures.value, target.value, chosenId.value].filter((one) => one !== null),
    ...failedNames.value.keys(),
    ...uploads.value,
    ...entries.value,
    ...collections.value,
    readerText.value.phase === "ready" ? "the reader's text" : [],
    announcement.value,
  ].flat();
}

const NOTHING = [""];

async function until(done: () => boolean): Promise<void> {
  await vi.waitFor(() => expect(done()).toBe(true));
}

beforeEach(async () => {
  await answering({ "GET /v1/session": [401, {}] });
  await startSession();
  vi.unstubAllGlobals();
  asSomebody();
  work();
});

describe("the next person finds nothing", () => {
  it("after a session that ended by itself", async () => {
    await answering({ "GET /v1/collections": [401, {}] });
    await expect(readCollections()).rejects.toMatchObject({ name: "AbortError" });
    expect(session.value).toEqual({ phase: "signed_out", note: "Your session has ended." });
    expect(left()).toEqual(NOTHING);
  });

  it("after signing out, also from a session that was over", async () => {
    for (const status of [200, 401]) {
      asSomebody();
      work();
      await answering({ "DELETE /v1/session": [status, {}] });
      expect(await leave()).toBeNull();
      expect(session.value).toEqual({ phase: "signed_out", note: null });
      expect(left()).toEqual(NOTHING);
      vi.unstubAllGlobals();
    }
  });

  it("at the moment of signing in", async () => {
    await answering({});
    expect(await enterKey("key")).toBeNull();
    expect(left()).toEqual(NOTHING);
  });
});

describe("what is under way when the visit ends", () => {
  it("puts no names back", async () => {
    const seen = await answering({ "GET /v1/documents/doc_8": "never" });
    const naming = nameFailures();
    await until(() => seen.length > 0);
    await leave();
    await naming;
    expect(failedNames.value.size).toBe(0);
  });

  it("puts no failures back that the end itself refused", async () => {
    await answering({ "POST /v1/jobs/job_9/retry": [401, {}] });
    await retryFailure(failedJob);
    expect(left()).toEqual(NOTHING);
  });

  it("asks nothing for the person who has left", async () => {
    const document = { id: "doc_8", job_id: "job_9", state: "failed" } as StoredDocument;
    entries.value = [{ document, job: null, note: null }];
    const seen = await answering({ "GET /v1/documents/doc_8": "never" });
    const retrying = retryFailure(failedJob);
    await until(() => seen.includes("GET /v1/documents/doc_8"));
    await leave();
    await retrying;
    expect(seen.at(-1)).toBe("DELETE /v1/session");
  });

  it("brings no collections", async () => {
    const seen = await answering({ "GET /v1/collections": "never" });
    const loading = loadCollections();
    await until(() => seen.length > 0);
    await leave();
    await loading;
    expect(collectionsPhase.value).toEqual({ name: "loading" });
  });

  it("sends no more files, and says nothing of them", async () => {
    const seen = await answering({ "POST /v1/collections/col_1/documents": "never" });
    addFiles("col_1", [new File(["1"], "one.txt"), new File(["2"], "two.txt")]);
    await until(() => seen.length > 0);
    await leave();
    await enterKey("key");
    addFiles("col_2", [new File(["3"], "three.txt")]);
    await until(() => seen.includes("POST /v1/collections/col_2/documents"));
    const posts = seen.filter((one) => one.includes("/documents"));
    expect(posts).toEqual(["POST /v1/collections/col_1/documents", "POST /v1/collections/col_2/documents"]);
    expect(announcement.value).not.toContain("one.txt");
  });

  it("does not end the next visit by an answer that comes late", async () => {
    const seen = await answering({ "GET /v1/collections": "never" });
    const reading = readCollections();
    await until(() => seen.length > 0);
    const ended = vi.fn();
    listenForSignedOut(ended);
    await leave();
    await expect(reading).rejects.toMatchObject({ name: "AbortError" });
    expect(ended).not.toHaveBeenCalled();
  });
});
