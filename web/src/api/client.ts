import { connectionLost, Problem, problemFrom } from "./problem";

let onSignedOut: () => void = () => undefined;

/** Calls `listener` whenever the API answers 401: the session is over, or there was none. */
export function listenForSignedOut(listener: () => void): void {
  onSignedOut = listener;
}

export function reportSignedOut(): void {
  onSignedOut();
}

let visit = new AbortController();

/** Aborted when the visit of the person who is signed in ends: nothing asked for them may be shown to the next. */
export function visitSignal(): AbortSignal {
  return visit.signal;
}

/** Aborts every request that is under way; those made from now on belong to the next visit. */
export function endVisit(): void {
  visit.abort();
  visit = new AbortController();
}

/**
 * A response with a status below 400. Throws Problem for any other and for no response. Throws AbortError when it is
 * aborted, by its own signal or because the visit ended, be it by this very response.
 */
export async function request(path: string, init: RequestInit = {}): Promise<Response> {
  const signal = untilVisitEnds(init.signal);
  let response: Response;
  try {
    response = await fetch(path, { ...init, signal });
  } catch (error) {
    if (signal.aborted) throw error;
    throw connectionLost();
  }
  if (response.ok) return response;
  const problem = problemFrom(response.status, await bodyOf(response));
  signal.throwIfAborted();
  if (problem.status === 401) onSignedOut();
  signal.throwIfAborted();
  throw problem;
}

/** The JSON of a response. */
export async function requestJson<T>(path: string, init: RequestInit = {}): Promise<T> {
  const headers = new Headers(init.headers);
  headers.set("Accept", "application/json");
  const signal = untilVisitEnds(init.signal);
  const response = await request(path, { ...init, headers, signal });
  try {
    return (await response.json()) as T;
  } catch (error) {
    if (signal.aborted) throw error;
    throw notUnderstood(response.status);
  }
}

function untilVisitEnds(own: AbortSignal | null | undefined): AbortSignal {
  return own ? AbortSignal.any([own, visit.signal]) : visit.signal;
}

/** The options of a POST of `body` as JSON. */
export function posting(body: unknown): RequestInit {
  return { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
}

export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

async function bodyOf(response: Response): Promise<string> {
  try {
    return await response.text();
  } catch {
    // The status alone still tells what happened.
    return "";
  }
}

function notUnderstood(status: number): Problem {
  return new Problem({
    status,
    code: "not_understood",
    sentence:
      "The server answered something this page does not understand. Reload the page; it may be out of date.",
  });
}
