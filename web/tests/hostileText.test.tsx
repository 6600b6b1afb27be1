// @vitest-environment happy-dom
import { render } from "preact";
import { afterEach, describe, expect, it } from "vitest";
import type { Citation, Sentence } from "../src/api/types";
import { AnswerSentence } from "../src/components/AnswerSentence";
import { ReaderPassage } from "../src/components/ReaderPassage";
import { toUtf16 } from "../src/spans";

const HOSTILE =
  '<img src=x onerror="alert(1)"> <script>alert(2)</script> [a](javascript:alert(3)) https://evil.example/';

function show(element: preact.ComponentChild): HTMLElement {
  const root = document.createElement("div");
  document.body.append(root);
  render(element, root);
  return root;
}

afterEach(() => document.body.replaceChildren());

describe("ReaderPassage", () => {
  it("shows markup and addresses of a document as plain words", () => {
    const text = `🎉 ${HOSTILE} and the end`;
    const marked = toUtf16(text, { start: 2, end: 2 + HOSTILE.length });
    const root = show(<ReaderPassage text={text} marked={marked} label="x" />);
    expect(root.querySelector("mark")?.textContent).toBe(HOSTILE);
    expect(root.querySelector(".document-text")?.textContent).toBe(text);
    expect(root.querySelectorAll("img, script, a")).toHaveLength(0);
  });
});

describe("AnswerSentence", () => {
  const citation: Citation = {
    n: 1,
    document_id: "d",
    document: HOSTILE,
    version: 1,
    page: null,
    start: 0,
    end: 1,
    quote: HOSTILE,
    verified: true,
  };

  function showSentence(sentence: Sentence): HTMLElement {
    return show(<AnswerSentence sentence={sentence} citations={[citation]} />);
  }

  it("shows a quoted sentence as plain words", () => {
    const root = showSentence({ text: HOSTILE, support: "verified", citations: [1] });
    expect(root.textContent).toContain(HOSTILE);
    expect(root.querySelectorAll("img, script, a")).toHaveLength(0);
  });

  it("says aloud how far a sentence is supported", () => {
    const root = showSentence({ text: "So they say.", support: "unsupported", citations: [] });
    expect(root.querySelector(".visually-hidden")?.textContent).toContain("Not supported");
  });

  it("cannot be followed before its citation has come", () => {
    const root = showSentence({ text: "Soon.", support: "verified", citations: [1, 2] });
    const [first, second] = root.querySelectorAll("button");
    expect(first?.disabled).toBe(false);
    expect(second?.disabled).toBe(true);
  });

  it("does not show a withdrawn sentence", () => {
    const root = showSentence({ text: "Secret.", support: "verified", citations: [1], withdrawn: true });
    expect(root.textContent).not.toContain("Secret.");
    expect(root.textContent).toContain("deleted");
  });
});
