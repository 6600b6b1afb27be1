import { useEffect, useRef } from "preact/hooks";
import type { Collection } from "../api/types";
import { shownTurns } from "../state/conversation";
import { Composer } from "./Composer";
import { TurnView } from "./TurnView";

interface Props {
  collection: Collection;
  covered: boolean;
}

/** The questions asked of a collection during this visit, the newest at the bottom, and the box for the next. */
export function Conversation({ collection, covered }: Props) {
  const list = useRef<HTMLDivElement>(null);
  const turns = shownTurns.value;
  const count = turns.length;

  useEffect(() => {
    // A new question comes into view; a growing answer does not pull the reader away from what is being read.
    list.current?.lastElementChild?.lastElementChild?.scrollIntoView({ block: "start" });
  }, [count]);

  return (
    <main class="conversation" inert={covered} aria-labelledby="conversation-title">
      <h2 id="conversation-title" class="visually-hidden">
        Questions and answers
      </h2>
      <div class="turns" ref={list}>
        {count === 0 ? (
          <Welcome collection={collection} />
        ) : (
          <ol class="turn-list">
            {turns.map((turn) => (
              <TurnView key={turn.key} turn={turn} />
            ))}
          </ol>
        )}
      </div>
      <Composer collection={collection} />
    </main>
  );
}

function Welcome({ collection }: { collection: Collection }) {
  return (
    <div class="welcome">
      <p class="welcome-title">
        Ask <bdi>{collection.name}</bdi>
      </p>
      <p>
        Every sentence of an answer points at the words it rests on. Follow a number to read them where they
        stand. When the documents do not hold an answer, Ibid says so.
      </p>
    </div>
  );
}
