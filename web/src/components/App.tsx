import { startSession, session } from "../state/session";
import { Announcer } from "./Announcer";
import { ProblemNote } from "./ProblemNote";
import { SignIn } from "./SignIn";
import { Workspace } from "./Workspace";

/** The whole page: the workspace for whoever is signed in, and what to do for anyone else. */
export function App() {
  return (
    <>
      <Screen />
      <Announcer />
    </>
  );
}

function Screen() {
  const state = session.value;
  switch (state.phase) {
    case "loading":
      return <p class="splash">Opening Ibid…</p>;
    case "unreachable":
      return (
        <main class="splash">
          <ProblemNote note={state.note} onRetry={() => void startSession()} />
        </main>
      );
    case "signed_out":
      return <SignIn note={state.note} />;
    case "signed_in":
      return <Workspace />;
  }
}
