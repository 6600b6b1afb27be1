import { describe, expect, it } from "vitest";
import type { JobState, StoredDocument } from "../src/api/types";
import { entries, entriesInside, removeDocument, topEntries } from "../src/state/documents";
import { serve } from "./testServer";

function stored(id: string, parent_id: string | null = null, state: JobState = "succeeded"): StoredDocument {
  return {
    id,
    name: `${id}.eml`,
    version: 1,
    live_version: 1,
    state,
    collection_id: "col_1",
    parent_id,
    media_type: "message/rfc822",
    size: 1,
    created_at: "2026-01-05T10:00:00Z",
    updated_at: "2026-01-05T10:00:00Z",
    job_id: null,
  };
}

function show(...documents: StoredDocument[]): void {
  entries.value = documents.map((document) => ({ document, job: null, note: null }));
}

const ids = (found: { document: StoredDocument }[]) => found.map(({ document }) => document.id);

describe("documents inside others", () => {
  it("stand under what they were inside of, in the order in which they were found", () => {
    show(stored("c", "a"), stored("b", "a"), stored("d", "b"), stored("a"), stored("e"));
    expect(ids(topEntries.value)).toEqual(["a", "e"]);
    expect(ids(entriesInside("a"))).toEqual(["b", "c"]);
    expect(ids(entriesInside("b"))).toEqual(["d"]);
  });

  it("stand alone while what they were inside of is not listed yet", () => {
    show(stored("b", "a"), stored("c"));
    expect(ids(topEntries.value)).toEqual(["b", "c"]);
  });

  it("leave the list with it", async () => {
    await serve((_, response) => response.writeHead(200).end("{}"));
    show(stored("d", "b"), stored("b", "a"), stored("a"), stored("e"));
    expect(await removeDocument("a")).toBeNull();
    expect(ids(entries.value)).toEqual(["e"]);
  });
});
