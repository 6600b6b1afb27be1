import { connectionLost, Problem, problemFrom } from "./problem";

let onSignedOut: () => void = () => undefined;

/** Calls `listener` whenever the API answers 401: the session is over, or there was none. */
export function listenForSignedOut(listener: () => void): void {
  onSignedOut = listener;
}

export function reportSignedOut(): void {
  onSignedOut();
}

/** A response with a status below 400. Throws Problem for any other and for no response; aborting throws AbortError. */
export async function request(path: string, init: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw connectionLost();
  }
  if (response.ok) return response;
  const problem = problemFrom(response.status, await bodyOf(response));
  if (problem.status === 401) onSignedOut();
  throw problem;
}

/** The JSON of a response. */
export async function requestJson<T>(path: string, init: RequestInit = {}): Promise<T> {
  const headers = new Headers(init.headers);
  headers.set("Accept", "application/json");
  const response = await request(path, { ...init, headers });
  try {
    return (await response.json()) as T;
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw notUnderstood(response.status);
  }
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
