import type { ProblemBody } from "./types";

interface ProblemFields {
  status: number;
  code: string;
  sentence: string;
  retryable?: boolean;
  requestId?: string | null;
}

/** A request that failed, with a stable `code` and one sentence for a person. `status` is 0 without a response. */
export class Problem extends Error {
  readonly status: number;
  readonly code: string;
  readonly retryable: boolean;
  readonly requestId: string | null;

  constructor({ status, code, sentence, retryable = false, requestId = null }: ProblemFields) {
    super(sentence);
    this.name = "Problem";
    this.status = status;
    this.code = code;
    this.retryable = retryable;
    this.requestId = requestId;
  }
}

/** The server could not be reached, or the connection broke. Trying again may work. */
export function connectionLost(): Problem {
  return new Problem({
    status: 0,
    code: "connection_lost",
    sentence:
      "The server did not answer. Check that Ibid is still running and that you are online, then try again.",
    retryable: true,
  });
}

const SENTENCES: Record<number, string> = {
  401: "You are not signed in.",
  403: "You may not do this.",
  404: "This is not here, or you may not see it.",
  413: "This is larger than the server accepts.",
  429: "The server is busy. Wait a moment, then try again.",
  502: "The server is not reachable right now. Try again in a moment.",
  503: "The server is not ready yet. Try again in a moment.",
  504: "The server took too long to answer. Try again in a moment.",
};

const RETRYABLE = new Set([429, 502, 503, 504]);

interface FullProblemBody extends Partial<ProblemBody> {
  status?: number;
  request_id?: string | null;
  retryable?: boolean;
}

/** The problem in a response's body; a sentence by status where the body is no problem document (a proxy's page). */
export function problemFrom(status: number, body: string): Problem {
  const fields = parsed(body);
  return new Problem({
    status: fields.status ?? status,
    code: fields.code ?? `http_${status}`,
    sentence: sentenceOf(fields) ?? SENTENCES[status] ?? `The server refused the request (status ${status}).`,
    retryable: fields.retryable ?? RETRYABLE.has(status),
    requestId: fields.request_id ?? null,
  });
}

/** What to tell a person: the detail of a problem document, or else its title. */
export function sentenceOf(body: Partial<ProblemBody>): string | undefined {
  const sentences = [body.detail, body.title].filter((text) => typeof text === "string" && text !== "");
  return sentences[0] ?? undefined;
}

/** One sentence for any failure; one that is no Problem is a mistake of this page's own. */
export function sentenceFor(error: unknown): string {
  if (error instanceof Problem) return error.message;
  return "The page made a mistake. Reload it, and report this if it happens again.";
}

function parsed(body: string): FullProblemBody {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null ? value : {};
  } catch {
    return {};
  }
}
