import { describe, expect, it } from "vitest";
import type { Job, Receipt } from "../src/api/types";
import { jobFacts, linesOf } from "../src/receipt";
import { durationOf, isArchive, listed } from "../src/words";

const receipt: Receipt = {
  version: 1,
  state: "partially_succeeded",
  parser: "pdfium",
  pages: { total: 6, with_text: 3, ocr: [3], empty: [4], unreadable: [2, 5], waiting: [6] },
  characters: 1234,
  languages: ["en", "de"],
  elements: { total: 21, tables: 2, images_skipped: 1, links: 0, hidden_characters: 40 },
  chunks: { made: 12, reused: 8, embedded: 4, stored_sql: 12, stored_vectors: 11 },
  warnings: ["Of 12 chunks 12 are in the database and 11 in the vector store. Reindex the collection."],
  seconds: { parse: 0.424, chunk: 0.1, embed: 12.3, index: 185 },
};

describe("linesOf", () => {
  it("tells every stage what it saw and how long it took", () => {
    const lines = linesOf(receipt).map(
      ({ label, facts, time }) => `${label}: ${facts.join(", ")} in ${time ?? "?"}`,
    );
    expect(lines).toEqual([
      "Read: 6 pages, 3 pages with text, 1 by OCR (page 3), 1 empty (page 4), 2 unreadable (pages 2 and 5), " +
        "1 not recognised yet (page 6), 1,234 characters in English and German, 21 paragraphs and other elements, " +
        "2 tables, 1 picture skipped, 40 hidden characters, not searched, reader: pdfium in 0.42 s",
      "Cut: 12 passages in 0.1 s",
      "Embedded: 4 anew, 8 known before in 12 s",
      "Stored: 12 in the database, 11 in the vector store in 3 min 5 s",
    ]);
  });

  it("says nothing of stages that have not ended", () => {
    const none = { made: null, reused: null, embedded: null, stored_sql: null, stored_vectors: null };
    const [read, ...others] = linesOf({ ...receipt, chunks: none });
    expect(read?.label).toBe("Read");
    expect(others).toEqual([]);
    expect(linesOf({ ...receipt, chunks: none, characters: null })).toEqual([]);
  });
});

describe("jobFacts", () => {
  it("tells how long a job waited and took, and how often it was tried", () => {
    const job: Job = {
      id: "job_1",
      kind: "ingest",
      document_id: "doc_1",
      state: "succeeded",
      stage: null,
      progress: null,
      attempt: 2,
      failures: 1,
      queue_position: null,
      created_at: "2026-01-05T10:00:00Z",
      started_at: "2026-01-05T10:00:03Z",
      finished_at: "2026-01-05T10:01:04Z",
      error: null,
      request_id: null,
      statistics: {},
    };
    expect(jobFacts(job)).toEqual(["waited 3 s", "took 1 min 1 s", "2 attempts", "1 of them failed"]);
  });
});

describe("words", () => {
  it("lists what is few, and counts the rest of what is many", () => {
    expect(listed([7])).toBe("7");
    expect(listed([1, 2, 3])).toBe("1, 2 and 3");
    expect(listed(Array.from({ length: 30 }, (_, index) => index + 1))).toBe(
      "1, 2, 3, 4, 5, 6, 7, 8 and 22 more",
    );
  });

  it("gives lengths of time two digits", () => {
    expect([0.004, 0.04, 2.345, 59.4, 60].map(durationOf)).toEqual([
      "0 s",
      "0.04 s",
      "2.3 s",
      "59 s",
      "1 min 0 s",
    ]);
  });

  it.each([
    ["handbook.zip", true],
    ["Handbook.TAR.GZ", true],
    ["a.tgz", true],
    ["a.gz", false],
    ["plan.docx", false],
    ["zip", false],
  ])("knows an archive by its name: %s", (name, archive) => {
    expect(isArchive(name)).toBe(archive);
  });
});
