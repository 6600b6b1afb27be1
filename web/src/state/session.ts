import { computed, signal } from "@preact/signals";
import { isAbort, listenForSignedOut } from "../api/client";
import { Problem, sentenceFor } from "../api/problem";
import { readSession, signIn, signOut } from "../api/routes";
import type { Session } from "../api/types";
import { forgetAll } from "./forgetting";

type SessionState =
  | { phase: "loading" }
  | { phase: "signed_out"; note: string | null }
  | { phase: "signed_in"; session: Session }
  | { phase: "unreachable"; note: string };

export const session = signal<SessionState>({ phase: "loading" });

/** Whether the person who is signed in may upload, delete and create. */
export const mayEdit = computed(
  () => session.value.phase === "signed_in" && session.value.session.role !== "reader",
);

/** Whether the person who is signed in may have addresses fetched: it is off unless the operator has set it. */
export const mayFetch = computed(
  () => mayEdit.value && session.value.phase === "signed_in" && session.value.session.url_ingestion,
);

const USED_LINK =
  "This link no longer works: each link can be used once. Open the link that the latest start of Ibid printed.";

/** Signs in with the link's token where the address has one, takes it out of the address, and finds who is signed in. */
export async function startSession(): Promise<void> {
  session.value = { phase: "loading" };
  listenForSignedOut(() => {
    if (session.value.phase === "signed_in") {
      forgetAll();
      session.value = { phase: "signed_out", note: "Your session has ended." };
    }
  });
  try {
    const note = await exchangeToken(takeToken());
    const who = await readSession();
    if (who) begin(who);
    else session.value = { phase: "signed_out", note };
  } catch (error) {
    session.value = { phase: "unreachable", note: sentenceFor(error) };
  }
}

/** Signs in with an API key; gives the sentence to show when that fails. */
export async function enterKey(key: string): Promise<string | null> {
  try {
    await signIn({ api_key: key });
    const who = await readSession();
    if (!who) return "Your browser did not keep the session. Allow cookies for this page, then try again.";
    begin(who);
    return null;
  } catch (error) {
    if (error instanceof Problem && error.status === 401) return "The server does not know this key.";
    return sentenceFor(error);
  }
}

/** Lets somebody in, to a page that holds nothing of whoever was there before. */
function begin(who: Session): void {
  forgetAll();
  session.value = { phase: "signed_in", session: who };
}

export async function leave(): Promise<string | null> {
  try {
    await signOut();
  } catch (error) {
    // The session was over already: that ended the visit, and with it this request.
    if (!isAbort(error)) return sentenceFor(error);
  }
  forgetAll();
  session.value = { phase: "signed_out", note: null };
  return null;
}

async function exchangeToken(token: string | null): Promise<string | null> {
  if (token === null) return null;
  try {
    await signIn({ token });
    return null;
  } catch (error) {
    // A used link is no reason to stop: the cookie of an earlier visit may still be good.
    if (error instanceof Problem && error.status >= 400 && error.status < 500) return USED_LINK;
    throw error;
  }
}

function takeToken(): string | null {
  const address = new URL(window.location.href);
  const token = address.searchParams.get("token");
  if (token !== null) {
    address.searchParams.delete("token");
    window.history.replaceState(null, "", address);
  }
  return token;
}
