"""Answers on their way: tasks of this process, detached from the connections that asked."""

import asyncio
import logging

from anyio.to_thread import run_sync

from ibid.errors import IbidError
from ibid.types import Scope
from retrieval import answers
from retrieval.kit import Kit

log = logging.getLogger(__name__)

INTERRUPTED = ("interrupted", "The service stopped while it was answering. Ask again.")
INTERNAL = ("internal", "Ibid made a mistake while answering. It is logged; please report it, and ask again.")


class Runner:
    """Starts answers and keeps their tasks until they end."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, scope: Scope, answer_id: str) -> None:
        """Run an answer whose row is committed."""
        task = asyncio.create_task(self._run(scope, answer_id), name=answer_id)
        self._tasks[answer_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(answer_id, None))

    async def close(self) -> None:
        """End what still runs as interrupted."""
        left = dict(self._tasks)
        for answer_id, task in left.items():
            try:
                await run_sync(answers.fail, self._kit.db, answer_id, *INTERRUPTED)
            except IbidError as error:
                log.warning("answer %s is left to the sweeper: %s", answer_id, error.message)
            task.cancel()
        await asyncio.gather(*left.values(), return_exceptions=True)

    async def _run(self, scope: Scope, answer_id: str) -> None:
        try:
            await answers.run(self._kit, scope, answer_id)
        except Exception:  # a door: nobody awaits the task, and the answer must have an end
            log.exception("answer %s failed unexpectedly", answer_id)
            await run_sync(answers.fail, self._kit.db, answer_id, *INTERNAL)
