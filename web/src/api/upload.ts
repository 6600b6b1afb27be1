import { reportSignedOut, visitSignal } from "./client";
import { connectionLost, Problem, problemFrom } from "./problem";
import { documentsAddress } from "./routes";
import type { UploadOutcome } from "./types";

/**
 * Sends one file and gives its outcome; `unpack` makes documents of the files in an archive. Throws Problem when the
 * server refuses it, and AbortError when the visit ends before it is there.
 *
 * XMLHttpRequest, because fetch cannot tell how much of a body has been sent. `onSent` gets a fraction, 0 to 1.
 */
export function uploadFile(
  collection: string,
  { file, unpack }: { file: File; unpack: boolean },
  onSent: (fraction: number) => void,
): Promise<UploadOutcome> {
  return new Promise((resolve, reject) => {
    const form = new FormData();
    form.append("files", file, file.name);
    if (unpack) form.append("unpack", "true");
    const sending = new XMLHttpRequest();
    sending.open("POST", documentsAddress(collection));
    sending.setRequestHeader("Accept", "application/json");
    sending.upload.onprogress = (event) => onSent(event.lengthComputable ? event.loaded / event.total : 0);
    sending.onload = () => settle(sending, resolve, reject);
    sending.onerror = () => reject(connectionLost());
    // Before anything else is heard of it: the end of the visit is what the caller is to know.
    const stop = () => {
      reject(new DOMException("The visit has ended.", "AbortError"));
      sending.abort();
    };
    const visit = visitSignal();
    visit.addEventListener("abort", stop, { once: true });
    sending.onloadend = () => visit.removeEventListener("abort", stop);
    sending.send(form);
  });
}

function settle(
  sending: XMLHttpRequest,
  resolve: (outcome: UploadOutcome) => void,
  reject: (problem: Problem) => void,
): void {
  if (sending.status === 401) reportSignedOut();
  const outcome = sending.status < 400 ? onlyOutcome(sending.responseText) : undefined;
  if (outcome) resolve(outcome);
  else reject(problemFrom(sending.status, sending.responseText));
}

function onlyOutcome(body: string): UploadOutcome | undefined {
  try {
    return (JSON.parse(body) as { documents: UploadOutcome[] }).documents[0];
  } catch {
    return undefined;
  }
}
