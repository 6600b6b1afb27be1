/** How far a list has come from the server. */
export type Phase = { name: "loading" } | { name: "ready" } | { name: "failed"; note: string };
