import { describe, expect, it } from "vitest";
import type { Citation } from "../src/api/types";
import { advance, type AnswerView, EMPTY, withdraw } from "../src/state/answer";

function citation(n: number, document = "doc_1"): Citation {
  const words = { quote: "Twenty-five days.", start: 3, end: 20 };
  return {
    n,
    document_id: document,
    document: "handbook.pdf",
    version: 1,
    page: 4,
    verified: true,
    ...words,
  };
}

function sentence(index: number, citations: number[]) {
  return { index, text: `Sentence ${index}.`, support: "verified", citations };
}

const EVENTS: [string, unknown][] = [
  ["answer.created", { id: "ans_1" }],
  ["retrieval.completed", { passages: 8 }],
  ["answer.delta", { sentence: sentence(0, [1]) }],
  ["citation.added", citation(1)],
  ["heartbeat", {}],
  ["answer.delta", { sentence: sentence(1, [2]) }],
  ["citation.added", citation(2, "doc_2")],
];

function play(events: [string, unknown][], from: AnswerView = EMPTY): AnswerView {
  return events.reduce(
    (view, [event, data]) => advance(view, { event, data: JSON.stringify(data), id: undefined }),
    from,
  );
}

describe("advance", () => {
  it("grows by whole sentences and their citations", () => {
    const view = play(EVENTS);
    expect(view).toMatchObject({ id: "ans_1", phase: "answering", passages: 8 });
    expect(view.sentences.map(({ text }) => text)).toEqual(["Sentence 0.", "Sentence 1."]);
    expect(view.citations.map(({ n }) => n)).toEqual([1, 2]);
  });

  it("gives the same answer when events come again", () => {
    const view = play(EVENTS);
    expect(play(EVENTS, view)).toEqual(view);
  });

  it("takes the final answer as it stands", () => {
    const last = {
      id: "ans_1",
      status: "completed",
      text: "",
      sentences: [],
      citations: [],
      model: "extractive",
    };
    expect(play([...EVENTS, ["answer.completed", last]])).toMatchObject({
      phase: "completed",
      sentences: [],
      citations: [],
      model: "extractive",
    });
  });

  it("keeps the reason and the nearest passages of a refusal", () => {
    const nearest = [
      { document_id: "doc_1", document: "a.txt", version: 1, text: "near", start: 0, end: 4, page: null },
    ];
    const last = {
      id: "a",
      status: "refused",
      text: "",
      sentences: [],
      citations: [],
      reason: "no_evidence",
      nearest,
    };
    expect(play([["answer.refused", last]])).toMatchObject({
      phase: "refused",
      reason: "no_evidence",
      nearest,
    });
  });

  it("counts passages that are given as a list", () => {
    expect(play([["retrieval.completed", { passages: [{}, {}] }]]).passages).toBe(2);
  });

  it("leaves out a citation whose document was deleted meanwhile", () => {
    expect(play([["citation.added", { n: 3, withdrawn: true }]]).citations).toEqual([]);
  });

  it("ignores an event it does not know", () => {
    expect(play([["answer.sung", { loud: true }]])).toEqual(EMPTY);
  });
});

describe("withdraw", () => {
  it("takes out what rests on a deleted document, words included", () => {
    const view = withdraw(play(EVENTS), new Set(["doc_2"]));
    expect(view.sentences).toMatchObject([{ text: "Sentence 0." }, { text: "", withdrawn: true }]);
    expect(view.citations.map(({ n }) => n)).toEqual([1]);
  });
});
