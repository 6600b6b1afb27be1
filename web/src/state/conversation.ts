import { computed, signal } from "@preact/signals";
import { ask, rejoin } from "../api/answerStream";
import { isAbort } from "../api/client";
import { Problem, sentenceFor } from "../api/problem";
import { readAnswer, stopAnswer } from "../api/routes";
import type { ServerEvent } from "../api/sse";
import { announce } from "./announcements";
import { advance, type AnswerView, EMPTY, isRunning, retell, withdraw } from "./answer";
import { chosenId } from "./collections";

/** A question and its answer, in one collection. */
export interface Turn {
  key: number;
  collection: string;
  question: string;
  answer: AnswerView;
  connected: boolean;
  stopping: boolean;
}

export const turns = signal<Turn[]>([]);
export const shownTurns = computed(() =>
  turns.value.filter(({ collection }) => collection === chosenId.value),
);
export const runningTurn = computed(() => turns.value.find(({ answer }) => isRunning(answer.phase)) ?? null);

let lastKey = 0;
const controllers = new Map<number, AbortController>();

/** Asks a collection, and lets the answer grow as its sentences arrive. */
export async function askQuestion(collection: string, question: string): Promise<void> {
  lastKey += 1;
  const key = lastKey;
  const turn = { key, collection, question, answer: EMPTY, connected: true, stopping: false };
  turns.value = [...turns.value, turn];
  await listen(key, (listening) => ask({ collection, question }, listening));
}

/** Joins an answer again whose connection was lost. */
export async function reconnect({ key, answer }: Turn): Promise<void> {
  const { id } = answer;
  if (id === null) return;
  change(key, { answer: { ...answer, phase: "searching", reason: null } });
  await listen(key, (listening) => rejoin(id, listening));
}

/** Stops a running answer: the server ends it and says so; before it has an id, only this page stops listening. */
export async function stop({ key, answer }: Turn): Promise<void> {
  change(key, { stopping: true });
  if (answer.id === null) {
    controllers.get(key)?.abort();
    return;
  }
  try {
    await stopAnswer(answer.id);
  } catch (error) {
    change(key, { stopping: false, answer: { ...answer, reason: sentenceFor(error) } });
  }
}

/**
 * Takes out of every answer what cites documents that have just been deleted, then reads the answers again: a sentence
 * may hold words of a document that it does not cite, and only the server knows. One that still grows ends so anyway.
 */
export async function withdrawDocuments(documentIds: ReadonlySet<string>): Promise<void> {
  turns.value = turns.value.map((turn) => ({ ...turn, answer: withdraw(turn.answer, documentIds) }));
  await Promise.all(turns.value.filter(({ answer }) => !isRunning(answer.phase)).map(readAgain));
}

async function readAgain({ key, answer: { id } }: Turn): Promise<void> {
  if (id === null) return;
  try {
    const told = await readAnswer(id);
    update(key, (answer) => retell(answer, told));
  } catch {
    // Without the server's word, none of its sentences is known to be free of what was deleted.
    update(key, (answer) => retell(answer, null));
  }
}

/** Forgets everything, when the person signs out. */
export function clearConversation(): void {
  controllers.forEach((controller) => controller.abort());
  turns.value = [];
}

interface Listening {
  signal: AbortSignal;
  onConnected: (connected: boolean) => void;
}

async function listen(
  key: number,
  events: (listening: Listening) => AsyncIterable<ServerEvent>,
): Promise<void> {
  const controller = new AbortController();
  controllers.set(key, controller);
  const onConnected = (connected: boolean) => change(key, { connected });
  try {
    for await (const event of events({ signal: controller.signal, onConnected })) {
      update(key, (answer) => advance(answer, event));
      if (event.event === "answer.refused") announce("The documents do not hold an answer to this.");
    }
  } catch (error) {
    update(key, (answer) => ended(answer, error));
  } finally {
    controllers.delete(key);
    change(key, { stopping: false, connected: true });
  }
}

function ended(answer: AnswerView, error: unknown): AnswerView {
  if (isAbort(error)) return { ...answer, phase: "cancelled" };
  const lost = answer.id !== null && error instanceof Problem && error.retryable;
  return { ...answer, phase: lost ? "interrupted" : "failed", reason: sentenceFor(error) };
}

function update(key: number, next: (answer: AnswerView) => AnswerView): void {
  turns.value = turns.value.map((turn) => (turn.key === key ? { ...turn, answer: next(turn.answer) } : turn));
}

function change(key: number, fields: Partial<Turn>): void {
  turns.value = turns.value.map((turn) => (turn.key === key ? { ...turn, ...fields } : turn));
}
