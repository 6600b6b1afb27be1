import { useState } from "preact/hooks";
import { enterKey } from "../state/session";
import { ProblemNote } from "./ProblemNote";

/** What to do when nobody is signed in: the printed link, or an API key. */
export function SignIn({ note }: { note: string | null }) {
  const [key, setKey] = useState("");
  const [problem, setProblem] = useState(note);
  const [busy, setBusy] = useState(false);

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    setBusy(true);
    setProblem(await enterKey(key.trim()));
    setBusy(false);
  };

  return (
    <main class="splash">
      <form class="card sign-in" data-testid="sign-in" onSubmit={(event) => void submit(event)}>
        <img src="/favicon.svg" alt="" width="44" height="44" />
        <h1>Sign in to Ibid</h1>
        <p>
          Open the link that <code>ibid serve</code> printed, or paste an API key.
        </p>
        {problem !== null && <ProblemNote note={problem} />}
        <label class="field">
          <span>API key</span>
          <input
            type="password"
            autocomplete="off"
            spellcheck={false}
            required
            value={key}
            data-testid="api-key"
            onInput={(event) => setKey(event.currentTarget.value)}
          />
        </label>
        <button
          type="submit"
          class="button primary"
          disabled={busy || key.trim() === ""}
          data-testid="sign-in-submit"
        >
          {busy ? "Signing in…" : "Sign in"}
        </button>
      </form>
    </main>
  );
}
