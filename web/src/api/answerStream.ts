import { posting, request } from "./client";
import { Problem } from "./problem";
import { answerEventsAddress } from "./routes";
import { followEvents, openEvents, type ServerEvent } from "./sse";

const LAST = new Set(["answer.completed", "answer.refused", "answer.failed", "answer.cancelled"]);

interface Question {
  collection: string;
  question: string;
}

interface Listening {
  signal: AbortSignal;
  onConnected: (connected: boolean) => void;
}

/** Asks, and yields the events of the answer until it ends, resuming where the connection breaks. */
export async function* ask(question: Question, listening: Listening): AsyncGenerator<ServerEvent> {
  const { signal } = listening;
  const init = posting({ ...question, stream: true });
  const headers = { "Content-Type": "application/json", Accept: "text/event-stream" };
  const first = await request("/v1/answers", { ...init, headers, signal });
  yield* follow(first, null, listening);
}

/** The events of an answer that was asked before, from its first. */
export async function* rejoin(answerId: string, listening: Listening): AsyncGenerator<ServerEvent> {
  yield* follow(null, answerId, listening);
}

async function* follow(first: Response | null, knownId: string | null, listening: Listening) {
  let id = knownId;
  const events = followEvents(first, {
    ...listening,
    last: (event) => LAST.has(event.event),
    resume: async (lastEventId) => {
      if (id === null) throw neverBegan();
      return openEvents(answerEventsAddress(id), lastEventId, listening.signal);
    },
  });
  for await (const event of events) {
    if (event.event === "answer.created") id = (JSON.parse(event.data) as { id: string }).id;
    yield event;
  }
}

function neverBegan(): Problem {
  return new Problem({
    status: 0,
    code: "answer_never_began",
    sentence: "The connection broke before the answer began. Ask again.",
  });
}
