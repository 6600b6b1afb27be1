import type { ServerEvent } from "../api/sse";
import type { Answer, Citation, Hit, Sentence } from "../api/types";

export type AnswerPhase =
  "searching" | "answering" | "completed" | "refused" | "failed" | "cancelled" | "interrupted";

/** An answer as far as it has come. Made only by `advance`, so that replaying events gives the same answer. */
export interface AnswerView {
  id: string | null;
  phase: AnswerPhase;
  passages: number | null;
  sentences: Sentence[];
  citations: Citation[];
  reason: string | null;
  nearest: Hit[];
  model: string | null;
}

export const EMPTY: AnswerView = {
  id: null,
  phase: "searching",
  passages: null,
  sentences: [],
  citations: [],
  reason: null,
  nearest: [],
  model: null,
};

/** The answer after one more event. Events seen before change nothing, and unknown ones are ignored. */
export function advance(view: AnswerView, { event, data }: ServerEvent): AnswerView {
  const step = STEPS[event];
  return step ? step(view, JSON.parse(data)) : view;
}

export function isRunning(phase: AnswerPhase): boolean {
  return phase === "searching" || phase === "answering";
}

/** The answer without the sentences that cite documents which have just been deleted. */
export function withdraw(view: AnswerView, documentIds: ReadonlySet<string>): AnswerView {
  const cited = view.citations.filter((one) => documentIds.has(one.document_id));
  const gone = new Set(cited.map(({ n }) => n));
  return {
    ...view,
    nearest: view.nearest.filter((hit) => !documentIds.has(hit.document_id)),
    citations: view.citations.filter(({ n }) => !gone.has(n)),
    sentences: view.sentences.map((sentence) =>
      sentence.citations.some((n) => gone.has(n)) ? { ...sentence, text: "", withdrawn: true } : sentence,
    ),
  };
}

/** The answer with what the server still tells of it, or without a word where it tells nothing. */
export function retell(view: AnswerView, told: Answer | null): AnswerView {
  if (told) return { ...view, ...partsOf(told) };
  const sentences = view.sentences.map((sentence) => ({ ...sentence, text: "", withdrawn: true }));
  return { ...view, sentences, citations: [], nearest: [] };
}

type Step = (view: AnswerView, data: unknown) => AnswerView;

const STEPS: Record<string, Step> = {
  "answer.created": (view, data) => ({ ...view, id: (data as { id: string }).id }),
  "retrieval.completed": (view, data) => ({ ...view, phase: "answering", passages: countOf(data) }),
  "answer.delta": (view, data) =>
    addSentence(view, (data as { sentence: Sentence & { index: number } }).sentence),
  "citation.added": (view, data) => addCitation(view, data as Citation),
  "answer.completed": (view, data) => finish(view, data as Answer, "completed"),
  "answer.refused": (view, data) => finish(view, data as Answer, "refused"),
  "answer.failed": (view, data) => finish(view, data as Answer, "failed"),
  "answer.cancelled": (view, data) => finish(view, data as Answer, "cancelled"),
};

function addSentence(view: AnswerView, { index, ...sentence }: Sentence & { index: number }): AnswerView {
  const sentences = [...view.sentences];
  sentences[index] = sentence;
  // A gap, should one ever come, is closed rather than shown.
  return { ...view, phase: "answering", sentences: sentences.filter(Boolean) };
}

function addCitation(view: AnswerView, citation: Citation): AnswerView {
  if (citation.withdrawn) return view;
  const others = view.citations.filter(({ n }) => n !== citation.n);
  return { ...view, citations: [...others, citation].sort((a, b) => a.n - b.n) };
}

function finish(view: AnswerView, answer: Answer, phase: AnswerPhase): AnswerView {
  return {
    ...view,
    phase,
    id: answer.id,
    ...partsOf(answer),
    reason: answer.message ?? answer.reason ?? null,
    model: answer.model ?? null,
  };
}

function partsOf({ sentences, citations, nearest }: Answer) {
  return { sentences, citations, nearest: nearest ?? [] };
}

function countOf(data: unknown): number | null {
  const { passages } = data as { passages?: unknown };
  if (typeof passages === "number") return passages;
  return Array.isArray(passages) ? passages.length : null;
}
