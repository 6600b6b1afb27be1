import { beforeEach, describe, expect, it } from "vitest";
import type { Citation, Hit, Sentence, StoredDocument } from "../src/api/types";
import { EMPTY } from "../src/state/answer";
import { turns } from "../src/state/conversation";
import type { DocumentEntry } from "../src/state/documents";
import { readerText, target } from "../src/state/reader";
import { deleteEverywhere } from "../src/state/removal";
import { serve } from "./testServer";

const MAIL: DocumentEntry = { document: { id: "mail" } as StoredDocument, job: null, note: null };

function sentence(text: string, ...citations: number[]): Sentence {
  return { text, support: "verified", citations };
}

const OWN = sentence("Free.", 2);
const BORROWED = sentence("Says what the attachment says.", 2);

/** The server of a mail with an attachment that has one in turn; it tells of the answer what `answer` says. */
async function holding(answer: [status: number, body: unknown]): Promise<string[]> {
  const inside: Record<string, string[]> = { mail: ["attached"], attached: ["deep"] };
  const seen: string[] = [];
  await serve((request, response) => {
    seen.push(`${request.method ?? ""} ${request.url ?? ""}`);
    const [, id] = /documents\/(\w+)\/children/.exec(request.url ?? "") ?? [];
    const [status, body] = request.url?.startsWith("/v1/answers/")
      ? answer
      : [200, { data: (inside[id ?? ""] ?? []).map((child) => ({ id: child })) }];
    response.writeHead(status).end(JSON.stringify(body));
  });
  return seen;
}

beforeEach(() => {
  const citations = [{ n: 1, document_id: "deep" } as Citation, { n: 2, document_id: "other" } as Citation];
  const sentences = [sentence("Of the attachment.", 1), BORROWED, OWN];
  const nearest = [{ document_id: "attached" } as Hit];
  const answer = { ...EMPTY, id: "ans_1", phase: "completed" as const, citations, sentences, nearest };
  turns.value = [
    { key: 1, collection: "col_1", question: "What?", answer, connected: true, stopping: false },
  ];
  target.value = { documentId: "deep" } as typeof target.value;
  readerText.value = { phase: "ready", text: "Of the attachment.", marked: null, match: "none" };
});

const shown = () => turns.value.flatMap(({ answer }) => answer.sentences.map(({ text }) => text));

describe("a document that is deleted", () => {
  it("takes what cites the files inside it, and the reader, off the page", async () => {
    await holding([200, { sentences: [sentence("", 1), BORROWED, OWN], citations: [], nearest: [] }]);
    expect(await deleteEverywhere(MAIL)).toBeNull();
    expect(shown()).toEqual(["", BORROWED.text, OWN.text]);
    expect([target.value, readerText.value.phase]).toEqual([null, "loading"]);
  });

  it("takes the sentences with it of which only the server knows that they hold its words", async () => {
    await holding([200, { sentences: [sentence(""), sentence(""), OWN], citations: [], nearest: [] }]);
    await deleteEverywhere(MAIL);
    expect(shown()).toEqual(["", "", OWN.text]);
    expect(turns.value[0]?.answer).toMatchObject({ phase: "completed", citations: [], nearest: [] });
  });

  it("takes all sentences with it where the server tells nothing of the answer any more", async () => {
    await holding([404, {}]);
    await deleteEverywhere(MAIL);
    expect(shown()).toEqual(["", "", ""]);
  });

  it("stays when it cannot be told what is inside", async () => {
    await serve((_, response) => response.writeHead(503).end());
    expect(await deleteEverywhere(MAIL)).not.toBeNull();
    expect(target.value?.documentId).toBe("deep");
  });
});
