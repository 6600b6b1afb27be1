"""The compactor of a process that owns a vector store: looks now and then whether a generation is due, and sees to it."""

import logging
import threading
import time
from typing import Protocol, runtime_checkable

from ibid.errors import IbidError

log = logging.getLogger(__name__)

LOOK_SECONDS = 30.0
AFTER_FAILURE_SECONDS = 600.0
"""A copy that was given up, or could not be made, takes minutes of two cores; so it is not tried again at once."""


@runtime_checkable
class Compactable(Protocol):
    """A store whose files become quicker, and forget what was removed, when somebody rewrites them."""

    def due(self, after: int) -> list[str]:
        """Generations in use of whose points so many were written or removed since their compaction."""
        ...

    def compact(self, generation: str) -> bool:
        """Rewrite a generation while it is searched and written to; whether that came to its end."""
        ...

    def stop_compacting(self) -> None:
        """Let a compaction in another thread end at once."""
        ...


class Compactor:
    """Compacts what is due, one generation after the other, in a thread of its own; `after` so many points, 0: never."""

    def __init__(self, store: object, after: int) -> None:
        self._store = store if isinstance(store, Compactable) and after else None
        self._after = after
        self._stop = threading.Event()
        self._not_before: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, name="compactor", daemon=True)

    def start(self) -> None:
        """Begin to look, if the store is one that can be compacted."""
        if self._store is not None:
            self._thread.start()

    def stop(self) -> None:
        """Give up what is in progress, and end."""
        self._stop.set()
        if self._store is not None and self._thread.is_alive():
            self._store.stop_compacting()
            self._thread.join()

    def look(self) -> list[str]:
        """Compact what is due now; gives the generations that were."""
        done = []
        for generation in self._store.due(self._after) if self._store is not None else ():
            if not self._stop.is_set() and time.monotonic() >= self._not_before.get(generation, 0.0):
                if self._compact(generation):
                    done.append(generation)
                else:
                    self._not_before[generation] = time.monotonic() + AFTER_FAILURE_SECONDS
        return done

    def _compact(self, generation: str) -> bool:
        if self._store is None:
            return False
        begin = time.monotonic()
        try:
            done = self._store.compact(generation)
        except IbidError:
            log.exception("generation %s could not be compacted", generation)
            return False
        seconds = time.monotonic() - begin
        log.info("generation %s %s after %.0f s", generation, "compacted" if done else "given up", seconds)
        return done

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            try:
                self.look()
            except IbidError:
                log.exception("the compactor could not look at the vector store")
