"""The stream of a collection's jobs: all that move, what ended meanwhile, and nothing of anybody else's."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from api import events
from ibid import keys
from ibid.bootstrap import Parts
from ibid.clock import now
from ibid.db.tables import ApiKey, Job
from ibid.keys import NewKey
from tests.integration.test_event_streams import Service, run


async def filled(service: Service, name: str, documents: int, **more: Any) -> tuple[str, list[str]]:
    """A collection, and the jobs of its documents, which wait."""
    collection = (await service.call("POST", "/v1/collections", {"name": name}))["id"]
    taken = [
        await service.call(
            "POST",
            f"/v1/collections/{collection}/documents",
            {"name": f"{n}.txt", "text": f"Text {n}.", **more},
        )
        for n in range(documents)
    ]
    return collection, [each["documents"][0]["job_id"] for each in taken]


def of(found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(each["data"]["id"], each["data"]["state"]) for each in found if each["event"] == "job"]


class TestStream:
    def test_tells_of_every_job_to_its_end(self, parts: Parts) -> None:
        async def test(service: Service) -> None:
            collection, ids = await filled(service, "many", 20)
            await filled(service, "elsewhere", 1)
            path = f"/v1/collections/{collection}/events"
            async with service.stream("GET", path) as stream:
                first = [await stream.until("job") for _ in ids]
                assert of(first) == [(id_, "queued") for id_ in ids]
                assert {each["data"]["queue_position"] for each in first} == {None}
                while batch := service.claim():
                    await asyncio.to_thread(service.work, batch)
                ended: set[str] = set()
                while ended != set(ids):
                    event = await stream.until("job")
                    assert event["data"]["collection_id"] == collection
                    if event["data"]["state"] == "succeeded":
                        ended.add(event["data"]["id"])
            async with service.stream("GET", path + "?until_idle=true") as stream:
                again = await stream.rest()  # what ended a moment ago, in the order it did
            assert sorted(of(again)) == sorted((id_, "succeeded") for id_ in ids)
            numbers = [int(each["id"]) for each in again]
            assert numbers == sorted(numbers)

        run(parts, test)

    def test_resumes_with_what_ended_since(self, parts: Parts) -> None:
        async def test(service: Service) -> None:
            collection, (old, new, waiting) = await filled(service, "resumed", 3)
            batch = service.claim()
            await asyncio.to_thread(service.work, batch)
            hour = timedelta(hours=1)
            with parts.db.begin() as session:
                for id_, ago in ((old, 3 * hour), (new, hour)):
                    session.execute(update(Job).where(Job.id == id_).values(finished_at=now() - ago))
                values = {"state": "queued", "finished_at": None}
                session.execute(update(Job).where(Job.id == waiting).values(**values))
            path = f"/v1/collections/{collection}/events"
            seen = str(int((now() - 2 * hour).timestamp() * 1000))
            async with service.stream("GET", path, last_event_id=seen) as stream:
                found = [await stream.until("job") for _ in range(2)]
            assert of(found) == [(waiting, "queued"), (new, "succeeded")]
            assert found[0]["id"] == seen  # nothing that ended was told yet
            async with service.stream("GET", path) as stream:
                assert of([await stream.until("job")]) == [(waiting, "queued")]

        run(parts, test)

    def test_of_an_idle_collection_waits(self, parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.05)

        async def test(service: Service) -> None:
            collection, _ = await filled(service, "idle", 0)
            async with service.stream("GET", f"/v1/collections/{collection}/events") as stream:
                assert (await stream.next() or {})["event"] == "heartbeat"
                body = {"name": "late.txt", "text": "Late."}
                await service.call("POST", f"/v1/collections/{collection}/documents", body)
                assert (await stream.until("job"))["data"]["state"] == "queued"

        run(parts, test)

    def test_bad_event_id(self, parts: Parts) -> None:
        async def test(service: Service) -> None:
            collection, _ = await filled(service, "bad id", 0)
            path = f"/v1/collections/{collection}/events"
            for bad in ("x", "-1", "9" * 15, "١"):
                async with service.stream("GET", path, last_event_id=bad) as stream:
                    await stream._task
                assert stream.status == 422

        run(parts, test)


class TestRights:
    def test_documents_of_others_are_invisible(self, parts: Parts) -> None:
        async def test(service: Service) -> None:
            collection, (restricted,) = await filled(service, "shared", 1, access=["user:ann"])
            body = {"name": "open.txt", "text": "Open."}
            made = await service.call("POST", f"/v1/collections/{collection}/documents", body)
            opened = made["documents"][0]["job_id"]
            with parts.db.begin() as session:
                reader = keys.create(session, keys.holder(session, service.key), NewKey("r", "reader"))[1]
            path = f"/v1/collections/{collection}/events"
            headers = {"authorization": f"Bearer {reader}"}
            async with service.stream("GET", path, **headers) as stream:
                assert of([await stream.until("job")]) == [(opened, "queued")]
            async with service.stream("GET", path) as stream:
                both = [await stream.until("job") for _ in range(2)]
            assert of(both) == [(restricted, "queued"), (opened, "queued")]

        run(parts, test)

    @pytest.mark.parametrize("taken", ["key", "collection"])
    def test_that_are_taken_back_end_the_stream(
        self, parts: Parts, monkeypatch: pytest.MonkeyPatch, taken: str
    ) -> None:
        monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.05)

        async def test(service: Service) -> None:
            collection, _ = await filled(service, "taken", 1)
            async with service.stream("GET", f"/v1/collections/{collection}/events") as stream:
                await stream.until("job")
                if taken == "key":
                    with parts.db.begin() as session:
                        session.execute(
                            update(ApiKey).where(ApiKey.id == service.key_id).values(revoked_at=now())
                        )
                else:
                    await service.call("DELETE", f"/v1/collections/{collection}")
                told = (await stream.rest())[-1]
            assert (told["event"], told["data"]["code"]) == (
                "problem",
                "key_revoked" if taken == "key" else "collection_not_found",
            )

        run(parts, test)
