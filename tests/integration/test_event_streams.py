"""Event streams: live, resumed, fanned out, ended; and answers that outlive the connection that asked for them."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, Self

import anyio
import pytest
from fastapi import FastAPI
from sqlalchemy import select, update

from api import events
from api.app import create_app
from api.events import Feed
from api.running import Runner
from api.wiring import Wiring
from ibid import claims, keys
from ibid.bootstrap import Parts
from ibid.chat.port import DraftSentence, Prompt
from ibid.claims import Claim
from ibid.clock import now
from ibid.db.tables import Answer, ApiKey
from ibid.keys import NewKey
from ingest.tools import Tools
from ingest.work import work
from tests.door import LEAVE, QUESTION, PlainReader
from tests.model_stub import Alone
from tests.running import eventually

LEASE = timedelta(seconds=20)


class Slow(Alone):
    """A model that drafts sentences only when it is let."""

    name = "extractive"

    def __init__(self, *drafts: str | Exception) -> None:
        self.drafts = drafts
        self.may = asyncio.Semaphore(0)

    async def draft(self, _prompt: Prompt) -> AsyncGenerator[DraftSentence, None]:
        for draft in self.drafts:
            await self.may.acquire()
            if isinstance(draft, Exception):
                raise draft
            yield DraftSentence(draft, (1,), (draft,))
        await self.may.acquire()


class Stream:
    """One request whose reply is read as it comes; leaving the block hangs up."""

    def __init__(self, service: "Service", method: str, path: str, body: Any = None, **headers: str) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        named = {
            "host": "localhost",
            "authorization": f"Bearer {service.key}",
            "content-type": "application/json",
        }
        path, _, query = path.partition("?")
        self._scope = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode(),
            "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in (named | headers).items()],
            "client": ("127.0.0.1", 1), "server": ("localhost", 80), "scheme": "http", "http_version": "1.1",
        }  # fmt: skip
        self._app = service.app
        self._incoming = [{"type": "http.request", "body": content, "more_body": False}]
        self._gone = asyncio.Event()
        self._text = ""
        self._pieces: asyncio.Queue[str | None] = asyncio.Queue()
        self.status = 0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._app(self._scope, self._receive, self._send))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._gone.set()
        await self._task

    async def _receive(self) -> dict[str, Any]:
        if self._incoming:
            return self._incoming.pop()
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            return
        self._pieces.put_nowait(message.get("body", b"").decode())
        if not message.get("more_body", False):
            self._pieces.put_nowait(None)

    async def next(self) -> dict[str, Any] | None:
        """The next event, heartbeats too; None at the end of the stream."""
        while "\n\n" not in self._text:
            async with asyncio.timeout(20):
                piece = await self._pieces.get()
            if piece is None:
                return None
            self._text += piece
        block, _, self._text = self._text.partition("\n\n")
        event = dict(line.split(": ", 1) for line in block.splitlines())
        return event | {"data": json.loads(event["data"])}

    async def until(self, type_: str) -> dict[str, Any]:
        while (event := await self.next()) is not None:
            if event["event"] == type_:
                return event
        raise AssertionError(f"no {type_}")

    async def rest(self) -> list[dict[str, Any]]:
        found = []
        while (event := await self.next()) is not None:
            found.append(event)
        return found


class Service:
    """The application in the test's own event loop."""

    def __init__(self, app: FastAPI, parts: Parts, key: str, key_id: str) -> None:
        self.app, self.parts, self.key, self.key_id = app, parts, key, key_id

    @property
    def wiring(self) -> Wiring:
        found = self.app.state.wiring
        assert isinstance(found, Wiring)
        return found

    def stream(self, method: str, path: str, body: Any = None, **headers: str) -> Stream:
        return Stream(self, method, path, body, **headers)

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        async with self.stream(method, path, body) as reply:
            text = ""
            while (piece := await reply._pieces.get()) is not None:
                text += piece
        return json.loads(text)

    def use(self, model: Slow) -> None:
        kit = replace(self.wiring.kit, models=model)
        self.app.state.wiring = replace(self.wiring, kit=kit, runner=Runner(kit))

    async def handbook(self) -> dict[str, Any]:
        """A collection with one document that waits to be read."""
        collection = (await self.call("POST", "/v1/collections", {"name": "handbook"}))["id"]
        body = {"name": "leave.txt", "text": LEAVE}
        taken = await self.call("POST", f"/v1/collections/{collection}/documents", body)
        return {"question": {"collection": collection, "question": QUESTION}} | taken["documents"][0]

    def claim(self) -> list[Claim]:
        with self.parts.db.begin() as session:
            return claims.claim(session, "w", lease=LEASE, limit=16)

    def work(self, batch: list[Claim]) -> None:
        made = self.parts
        work(Tools(made.settings, made.db, made.store, made.blobs, made.encoders, PlainReader()), batch)

    def answer(self) -> Answer:
        with self.parts.db.read() as session:
            return session.scalars(select(Answer)).one()


@asynccontextmanager
async def served(parts: Parts) -> AsyncIterator[Service]:
    with parts.db.begin() as session:
        text = keys.ensure_admin(session, parts.settings)
        assert text is not None
        maker = keys.holder(session, text)
        row, key = keys.create(session, maker, NewKey("k", "admin"))
    app = create_app(parts.settings, parts)
    async with app.router.lifespan_context(app):
        yield Service(app, parts, key, row.id)


def run(parts: Parts, test: Callable[[Service], Awaitable[None]]) -> None:
    async def main() -> None:
        async with served(parts) as service:
            await test(service)

    anyio.run(main)


async def asked(service: Service, model: Slow) -> dict[str, Any]:
    """A question whose answer waits for the model."""
    made = await service.handbook()
    await asyncio.to_thread(service.work, service.claim())
    service.use(model)
    return dict(made["question"])


FIRST, SECOND = "Employees receive 20 days of paid leave each year.", "Unused leave is not paid out."


class TestJob:
    def test_is_followed_live_to_its_end(self, parts: Parts) -> None:
        async def test(service: Service) -> None:
            made = await service.handbook()
            async with service.stream("GET", f"/v1/jobs/{made['job_id']}/events") as stream:
                first = await stream.next()
                assert first is not None
                assert (first["event"], first["data"]["state"], first["data"]["queue_position"]) == (
                    "job",
                    "queued",
                    1,
                )
                batch = service.claim()
                running = await stream.next()
                assert running is not None
                assert running["data"]["state"] == "running"
                assert int(running["id"]) == running["data"]["revision"] > int(first["id"])
                await asyncio.to_thread(service.work, batch)
                rest = await stream.rest()
                assert rest[-1]["data"]["state"] == "succeeded"

        run(parts, test)

    def test_shows_a_stalled_job_though_nothing_was_written(self, parts: Parts) -> None:
        async def test(service: Service) -> None:
            made = await service.handbook()
            with parts.db.begin() as session:
                claims.claim(session, "w", lease=timedelta(seconds=1), limit=16)
            async with service.stream("GET", f"/v1/jobs/{made['job_id']}/events") as stream:
                states = [(await stream.until("job"))["data"]["state"] for _ in range(2)]
            assert states == ["running", "stalled"]

        run(parts, test)

    def test_resumes_with_what_is_new(self, parts: Parts) -> None:
        async def test(service: Service) -> None:
            made = await service.handbook()
            path = f"/v1/jobs/{made['job_id']}/events"
            async with service.stream("GET", path) as stream:
                seen = await stream.until("job")
            async with service.stream("GET", path, last_event_id=seen["id"]) as stream:
                batch = service.claim()
                fresh = await stream.until("job")
                assert fresh["data"]["state"] == "running"
            await asyncio.to_thread(service.work, batch)
            async with service.stream("GET", path, last_event_id=fresh["id"]) as stream:
                rest = await stream.rest()
            assert [event["data"]["state"] for event in rest] == ["succeeded"]
            async with service.stream("GET", path, last_event_id=rest[-1]["id"]) as stream:
                assert await stream.rest() == rest

        run(parts, test)

    def test_stream_ends_when_the_key_is_revoked(self, parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.05)

        async def test(service: Service) -> None:
            made = await service.handbook()
            async with service.stream("GET", f"/v1/jobs/{made['job_id']}/events") as stream:
                await stream.until("job")
                await stream.until("heartbeat")
                with parts.db.begin() as session:
                    session.execute(
                        update(ApiKey).where(ApiKey.id == service.key_id).values(revoked_at=now())
                    )
                last = (await stream.rest())[-1]
            assert (last["event"], last["data"]["code"]) == ("problem", "key_revoked")

        run(parts, test)


class TestAnswer:
    def test_events_come_as_sentences_do(self, parts: Parts) -> None:
        async def test(service: Service) -> None:
            model = Slow(FIRST, SECOND)
            question = await asked(service, model)
            async with service.stream("POST", "/v1/answers", question | {"stream": True}) as stream:
                assert (await stream.until("answer.created"))["data"]["id"].startswith("ans_")
                assert (await stream.until("retrieval.completed"))["data"]["passages"] == 1
                for index, sentence in enumerate((FIRST, SECOND)):
                    model.may.release()
                    shown = (await stream.until("answer.delta"))["data"]["sentence"]
                    assert (shown["index"], shown["text"], shown["support"]) == (index, sentence, "verified")
                model.may.release()
                rest = await stream.rest()
            whole = await service.call("GET", f"/v1/answers/{rest[-1]['data']['id']}")
            assert rest[-1]["event"] == "answer.completed"
            assert rest[-1]["data"] == whole
            assert whole["text"] == f"{FIRST} {SECOND}"

        run(parts, test)

    def test_outlives_its_connection_and_resumes_without_loss(self, parts: Parts) -> None:
        async def test(service: Service) -> None:
            model = Slow(FIRST, SECOND)
            question = await asked(service, model)
            before = []
            async with service.stream("POST", "/v1/answers", question, accept="text/event-stream") as stream:
                model.may.release()
                while not before or before[-1]["event"] != "answer.delta":
                    event = await stream.next()
                    assert event is not None
                    before.append(event)
            for _ in range(2):
                model.may.release()
            path = f"/v1/answers/{service.answer().id}/events"
            async with service.stream("GET", path, last_event_id=before[-1]["id"]) as stream:
                after = await stream.rest()
            async with service.stream("GET", path) as stream:
                whole = await stream.rest()
            assert before + after == whole
            assert [int(event["id"]) for event in whole] == list(range(1, len(whole) + 1))

        run(parts, test)

    def test_resumed_after_its_last_event_has_nothing_more(self, parts: Parts) -> None:
        async def test(service: Service) -> None:
            model = Slow(FIRST)
            for _ in range(2):
                model.may.release()
            answer = await service.call("POST", "/v1/answers", await asked(service, model))
            path = f"/v1/answers/{answer['id']}/events"
            async with service.stream("GET", path) as stream:
                last = (await stream.rest())[-1]["id"]
            async with service.stream("GET", path, last_event_id=last) as stream:
                assert await stream.rest() == []

        run(parts, test)

    def test_stops_when_asked(self, parts: Parts) -> None:
        async def test(service: Service) -> None:
            model = Slow(FIRST, SECOND)
            question = await asked(service, model)
            async with service.stream("POST", "/v1/answers", question | {"stream": True}) as stream:
                model.may.release()
                await stream.until("answer.delta")
                stopped = await service.call("POST", f"/v1/answers/{service.answer().id}/stop")
                assert stopped == {"id": service.answer().id}
                last = (await stream.rest())[-1]
            assert (last["event"], last["data"]["reason"]) == ("answer.cancelled", "stopped")
            assert last["data"]["text"] == FIRST

        run(parts, test)

    def test_that_nobody_watches_ends(self, parts: Parts) -> None:
        parts = replace(parts, settings=parts.settings.model_copy(update={"answer_unwatched_seconds": 0.5}))

        async def test(service: Service) -> None:
            question = await asked(service, Slow(FIRST))
            async with service.stream("POST", "/v1/answers", question | {"stream": True}) as stream:
                await stream.until("retrieval.completed")
            await asyncio.to_thread(eventually, lambda: service.answer().status != "running", what="the end")
            assert (service.answer().status, service.answer().reason) == ("cancelled", "unwatched")

        run(parts, test)

    def test_that_is_watched_goes_on(self, parts: Parts) -> None:
        parts = replace(parts, settings=parts.settings.model_copy(update={"answer_unwatched_seconds": 3.0}))

        async def test(service: Service) -> None:
            model = Slow(FIRST)
            question = await asked(service, model)
            async with service.stream("POST", "/v1/answers", question | {"stream": True}) as stream:
                for _ in range(11):  # one every third of a second: longer than an unwatched answer lives
                    await stream.until("heartbeat")
                for _ in range(2):
                    model.may.release()
                assert (await stream.rest())[-1]["event"] == "answer.completed"

        run(parts, test)

    def test_that_raises_ends_as_failed(self, parts: Parts, caplog: pytest.LogCaptureFixture) -> None:
        async def test(service: Service) -> None:
            model = Slow(RuntimeError("the secret inside"))
            model.may.release()
            answer = await service.call("POST", "/v1/answers", await asked(service, model))
            assert (answer["status"], answer["reason"]) == ("failed", "internal")
            assert "secret" not in str(answer)

        with caplog.at_level(logging.ERROR):
            run(parts, test)
        assert "the secret inside" in caplog.text

    def test_in_the_way_of_a_shutdown_is_interrupted(self, parts: Parts) -> None:
        async def main() -> None:
            async with served(parts) as service:
                question = await asked(service, Slow(FIRST))
                async with service.stream("POST", "/v1/answers", question | {"stream": True}) as stream:
                    await stream.until("retrieval.completed")
                await service.wiring.runner.close()
                assert (service.answer().status, service.answer().reason) == ("failed", "interrupted")

        anyio.run(main)


class TestFeed:
    def test_polls_once_for_all_listeners_and_not_at_all_for_none(self) -> None:
        looks: list[frozenset[str]] = []
        marks = {"a": 0, "b": 0}

        def look(ids: Any) -> dict[str, int]:
            looks.append(frozenset(ids))
            return {id_: marks[id_] for id_ in ids}

        ready: asyncio.Queue[str] = asyncio.Queue()
        heard: asyncio.Queue[str] = asyncio.Queue()

        async def listen(feed: Feed, id_: str) -> None:
            async with feed.watch(id_) as changed:
                await changed.wait()  # the first look always wakes
                changed.clear()
                ready.put_nowait(id_)
                await changed.wait()
                heard.put_nowait(id_)

        async def main() -> None:
            feed = Feed(look, 0.005)
            async with asyncio.timeout(10), asyncio.TaskGroup() as group:
                for _ in range(20):
                    group.create_task(listen(feed, "a"))
                other = group.create_task(listen(feed, "b"))
                for _ in range(21):
                    await ready.get()
                marks["a"] = 1
                assert {await heard.get() for _ in range(20)} == {"a"}
                assert heard.empty()
                other.cancel()
            assert feed._poller is not None
            await feed._poller
            assert feed._listeners == {}

        anyio.run(main)
        assert looks[0] <= {"a", "b"}
        assert len(looks) < 100
