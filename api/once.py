"""`Idempotency-Key` on POSTs: the effect happens once, and the reply is given as often as it is asked for.

The reservation is a transaction of its own; the reply is saved in the transaction of the effect. A request that is
refused keeps nothing, so that it may be corrected under the same key.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from sqlalchemy.orm import Session

from api.auth import Asker, asker
from api.wiring import Wiring, wiring
from ibid import fingerprints, replies
from ibid.db.session import Database
from ibid.replies import Reply, Reservation

IdempotencyKey = Annotated[
    str | None,
    Header(description="Repeat a request with the same key to get the same reply, and its effect only once."),
]
REPLAYED = {"Idempotent-Replayed": "true"}


@dataclass(frozen=True, slots=True)
class Once:
    """One POST with its key, if it has one. `request_hash` tells whether another request has the same key."""

    db: Database
    key_id: str
    idempotency_key: str | None
    request_hash: str

    def run(self, status: int, effect: Callable[[Session], BaseModel]) -> Response:
        """The reply to an effect of one transaction, or the one saved before."""
        with self.reserved() as mine:
            if isinstance(mine, Reply):
                return JSONResponse(mine.body, mine.status, REPLAYED)
            with self.db.begin() as session:
                body = effect(session).model_dump(mode="json")
                self.save(session, mine, status, body)
        return JSONResponse(body, status)

    def run_outside(self, status: int, effect: Callable[[], BaseModel]) -> Response:
        """As `run`, for an effect that makes its own transactions and may be had twice without harm."""
        with self.reserved() as mine:
            if isinstance(mine, Reply):
                return JSONResponse(mine.body, mine.status, REPLAYED)
            body = effect().model_dump(mode="json")
            with self.db.begin() as session:
                self.save(session, mine, status, body)
        return JSONResponse(body, status)

    @contextmanager
    def reserved(self) -> Iterator[Reservation | Reply | None]:
        """The saved reply or the right to save one, given back on an error; None without a key."""
        if self.idempotency_key is None:
            yield None
            return
        with self.db.begin() as session:
            mine = replies.reserve(session, self.key_id, self.idempotency_key, self.request_hash)
        done = False
        try:
            yield mine
            done = True
        finally:
            if not done and isinstance(mine, Reservation):
                with self.db.begin() as session:
                    replies.release(session, mine)

    def save(
        self, session: Session, mine: Reservation | Reply | None, status: int, body: Mapping[str, Any]
    ) -> None:
        """Save the reply if there is a right to, in the transaction of the effect."""
        if isinstance(mine, Reservation):
            replies.save(session, mine, status, body)

    def give_back(self, named: str) -> None:
        """Forget the saved reply that names an upload: its request was refused after all."""
        if self.idempotency_key is not None:
            with self.db.begin() as session:
                replies.forget(session, self.key_id, self.idempotency_key, named)


def request_hash(request: Request, found: Asker, content: str) -> str:
    """What makes two requests the same: who asks for whom, the address, and the content."""
    principals = ",".join(sorted(found.scope.principals or ()))
    return fingerprints.of(request.method, str(request.url.path), request.url.query, principals, content)


async def once(
    request: Request,
    found: Annotated[Asker, Depends(asker)],
    wired: Annotated[Wiring, Depends(wiring)],
    idempotency_key: IdempotencyKey = None,
) -> Once:
    """The POST at hand, by the bytes of its body."""
    content = (await request.body()).hex() if idempotency_key is not None else ""
    return Once(wired.parts.db, found.holder.id, idempotency_key, request_hash(request, found, content))


OnceDep = Annotated[Once, Depends(once)]


def harmless(idempotency_key: IdempotencyKey = None) -> None:
    """For POSTs that change nothing: they take the key, and a repetition simply does the same again."""
