import { createParser } from "eventsource-parser";
import { isAbort, request } from "./client";
import { connectionLost, Problem, problemFrom } from "./problem";

export interface ServerEvent {
  event: string;
  data: string;
  id: string | undefined;
}

export interface FollowOptions {
  /** Opens the stream again after the event with this id, or from its start. */
  resume: (lastEventId: string | undefined) => Promise<Response>;
  /** Whether this event is the last one: without it an ended stream counts as broken. */
  last: (event: ServerEvent) => boolean;
  signal: AbortSignal;
  /** Told false when the connection breaks and true when it is back. */
  onConnected?: (connected: boolean) => void;
  /** Attempts in a row that bring no event before giving up. */
  attempts?: number;
  pause?: (milliseconds: number, signal: AbortSignal) => Promise<void>;
}

/** A stream with no byte for this long is taken for dead; the server sends a heartbeat more often. */
const SILENCE_MS = 60_000;
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 15_000;

/** Opens an event stream with GET, after `lastEventId` where there is one. */
export async function openEvents(
  address: string,
  lastEventId: string | undefined,
  signal: AbortSignal,
): Promise<Response> {
  const headers: Record<string, string> = { Accept: "text/event-stream" };
  if (lastEventId !== undefined) headers["Last-Event-ID"] = lastEventId;
  return request(address, { headers, signal });
}

/**
 * The events of a stream, opened again after its last id each time the connection breaks, until the last event.
 * An event `problem` is an error that the server met after it had begun to answer.
 * Throws the Problem that no further attempt can change, or `connection_lost` once all attempts are spent.
 */
export async function* followEvents(
  first: Response | null,
  options: FollowOptions,
): AsyncGenerator<ServerEvent> {
  const { resume, last, signal, onConnected, attempts = 6, pause = sleep } = options;
  let response = first;
  let lastEventId: string | undefined;
  let firstPause = FIRST_PAUSE_MS;
  let failures = 0;
  for (;;) {
    try {
      response ??= await resume(lastEventId);
      onConnected?.(true);
      for await (const event of readEvents(response, (milliseconds) => (firstPause = milliseconds))) {
        if (event.event === "problem") throw problemFrom(200, event.data);
        failures = 0;
        lastEventId = event.id ?? lastEventId;
        yield event;
        if (last(event)) return;
      }
    } catch (error) {
      if (signal.aborted || !isRetryable(error)) throw error;
    }
    response = null;
    failures += 1;
    if (failures >= attempts) throw connectionLost();
    onConnected?.(false);
    await pause(Math.min(firstPause * 2 ** (failures - 1), LONGEST_PAUSE_MS), signal);
  }
}

/** The events of one response, in order. Throws `connection_lost` when it breaks; ends when it ends or falls silent. */
export async function* readEvents(
  response: Response,
  onRetry: (milliseconds: number) => void = () => undefined,
  silence = SILENCE_MS,
): AsyncGenerator<ServerEvent> {
  if (response.body === null) return;
  const waiting: ServerEvent[] = [];
  const parser = createParser({
    onEvent: ({ event = "message", data, id }) => waiting.push({ event, data, id }),
    onRetry,
  });
  const decoder = new TextDecoder();
  const reader = response.body.getReader();
  try {
    for (;;) {
      const { done, value } = await readWithin(reader, silence);
      if (done) return;
      parser.feed(decoder.decode(value, { stream: true }));
      yield* waiting.splice(0);
    }
  } finally {
    void reader.cancel().catch(() => undefined);
  }
}

async function readWithin(reader: ReadableStreamDefaultReader<Uint8Array>, silence: number) {
  // Cancelling makes the pending read end, so silence looks like the end of the stream.
  const timer = setTimeout(() => void reader.cancel().catch(() => undefined), silence);
  try {
    return await reader.read();
  } catch (error) {
    throw isAbort(error) ? error : connectionLost();
  } finally {
    clearTimeout(timer);
  }
}

function isRetryable(error: unknown): boolean {
  return error instanceof Problem && error.retryable;
}

/** Waits, or throws AbortError as soon as `signal` is aborted. */
export function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(new DOMException("stopped", "AbortError"));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
}
