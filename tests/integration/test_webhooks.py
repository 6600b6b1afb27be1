"""Webhooks: written with what they tell of, sent by a real postman to real receivers, signed, repeated, given up."""

import base64
import hmac
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from ibid import access, jobs, keys, outbox, webhooks
from ibid.clock import now
from ibid.db.session import Database
from ibid.db.tables import Audit, Base, Delivery, Webhook
from ibid.keys import NewKey
from ibid.types import JobKind
from ibid.webhooks import Wanted
from tests.door import LEAVE, Door, made
from tests.receiver import Receiver, dripping, receiving
from tests.running import await_jobs, eventually, new_collection, serving, upload
from tests.services import postgres_database
from worker import postman
from worker.postman import Postman

MARKER = "zyzzogeton"


@pytest.fixture(scope="module")
def hooked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with made(tmp_path_factory.mktemp("hooked"), webhook_allow_private=True) as one:
        yield one


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


class Post:
    """An endpoint of a door, and the postman who serves it when told to."""

    def __init__(self, door: Door, url: str, **more: Any) -> None:
        self.door = door
        made = door.post("/v1/webhooks", json={"url": url, **more})
        assert made.status_code == 201, made.text
        self.id, self.secret = made.json()["id"], made.json()["secret"]
        self.postman = Postman(door.parts)

    def deliveries(self, **query: str) -> list[dict[str, Any]]:
        """Oldest first."""
        return self.door.get(f"/v1/webhooks/{self.id}/deliveries", params=query).json()["data"][::-1]

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        return [(each["type"], each["payload"]["data"]) for each in self.deliveries()]

    def test(self) -> str:
        sent = self.door.post(f"/v1/webhooks/{self.id}/test")
        assert sent.status_code == 202, sent.text
        return str(sent.json()["id"])

    def set(self, **values: object) -> None:
        with self.door.parts.db.begin() as session:
            session.execute(update(Delivery).where(Delivery.webhook_id == self.id).values(**values))

    def set_endpoint(self, **values: object) -> None:
        with self.door.parts.db.begin() as session:
            session.execute(update(Webhook).where(Webhook.id == self.id).values(**values))

    def endpoint(self) -> dict[str, Any]:
        return dict(self.door.get(f"/v1/webhooks/{self.id}").json())

    def attempt(self) -> dict[str, Any]:
        """Make what waits due, and send it; gives the newest delivery once the attempt has been noted."""
        before = {each["id"]: each for each in self.deliveries()}
        self.set(next_at=now())
        assert self.postman.look()

        def noted() -> bool:
            after = self.deliveries()
            return (
                all(
                    each["state"] != "pending"
                    or (each["attempts"] > before[each["id"]]["attempts"] and each["error"] is not None)
                    for each in after
                )
                and not self.postman._busy
            )

        eventually(noted, what="the attempt")
        return self.deliveries()[-1]


@pytest.fixture
def post(hooked: Door, receiver: Receiver) -> Iterator[Post]:
    """An endpoint that hears of nothing but its tests: its one collection stays empty."""
    one = Post(hooked, receiver.url, collections=[hooked.collection(f"quiet {receiver.port}")])
    yield one
    one.postman.stop()
    hooked.delete(f"/v1/webhooks/{one.id}")


def verify(secret: str, headers: dict[str, str], body: bytes) -> None:
    """As a receiver does it."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, content, sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert abs(int(headers["webhook-timestamp"]) - now().timestamp()) < 300


class TestSignature:
    def test_is_that_of_the_specifications_example(self) -> None:
        headers = webhooks.signed(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1614265330,
            b'{"test": 2432232314}',
        )
        assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


class TestEndpoint:
    def test_shows_its_secret_once(self, hooked: Door) -> None:
        request = {"json": {"url": "https://hooks.example/a"}, "headers": {"Idempotency-Key": "hook once"}}
        first, again = (hooked.post("/v1/webhooks", **request).json() for _ in range(2))
        assert first["secret"].startswith("whsec_")
        assert len(base64.b64decode(first["secret"].removeprefix("whsec_"))) == 32
        assert again == first | {"secret": None}
        for path in ("/v1/webhooks", f"/v1/webhooks/{first['id']}"):
            assert first["secret"] not in hooked.get(path).text
        hooked.delete(f"/v1/webhooks/{first['id']}")

    @pytest.mark.parametrize(
        "url",
        ["ftp://a.example/", "https://", "no address", "https://u:p@a.example/", "https://a.example/#b",
         "https://a.example:99999/", "https://a.example/\n", "https://[::1/"],
    )  # fmt: skip
    def test_with_a_bad_address_is_refused(self, hooked: Door, url: str) -> None:
        assert hooked.code(hooked.post("/v1/webhooks", json={"url": url})) == (422, "bad_webhook")

    def test_for_an_event_that_there_is_not_is_refused(self, hooked: Door) -> None:
        body = {"url": "https://a.example/", "events": ["document.read"]}
        assert hooked.code(hooked.post("/v1/webhooks", json=body)) == (422, "bad_webhook")

    def test_of_a_limited_admin_is_limited(self, hooked: Door) -> None:
        mine = hooked.collection("mine alone")
        key = hooked.key("admin", [mine])
        everything = {"url": "https://a.example/"}
        made = hooked.post("/v1/webhooks", key=key, json=everything | {"collections": ["mine alone"]}).json()
        assert made["collections"] == [mine]
        assert hooked.code(hooked.post("/v1/webhooks", key=key, json=everything)) == (
            403,
            "webhook_exceeds_maker",
        )
        more = hooked.call("PATCH", f"/v1/webhooks/{made['id']}", key=key, json={"collections": None})
        assert hooked.code(more) == (403, "webhook_exceeds_maker")
        whole = hooked.post("/v1/webhooks", json=everything).json()
        assert [each["id"] for each in hooked.get("/v1/webhooks", key=key).json()["data"]] == [made["id"]]
        assert hooked.code(hooked.get(f"/v1/webhooks/{whole['id']}", key=key)) == (404, "webhook_not_found")
        for each in (made, whole):
            hooked.delete(f"/v1/webhooks/{each['id']}")

    def test_is_changed_and_forgotten_with_its_deliveries(self, hooked: Door, post: Post) -> None:
        path = f"/v1/webhooks/{post.id}"
        post.test()
        changed = hooked.call("PATCH", path, json={"url": "https://b.example/", "events": ["job.failed"]})
        assert (changed.json()["url"], changed.json()["events"]) == ("https://b.example/", ["job.failed"])
        assert changed.json()["collections"] == post.endpoint()["collections"]
        assert hooked.delete(path).status_code == 200
        assert hooked.code(hooked.get(path)) == (404, "webhook_not_found")
        with hooked.parts.db.read() as session:
            assert session.scalars(select(Delivery).where(Delivery.webhook_id == post.id)).all() == []

    def test_that_is_disabled_is_sent_nothing_until_it_is_enabled(
        self, hooked: Door, post: Post, receiver: Receiver
    ) -> None:
        post.test()
        path = f"/v1/webhooks/{post.id}"
        assert hooked.call("PATCH", path, json={"disabled": True}).json()["disabled_reason"] == "asked"
        assert not post.postman.look()
        assert hooked.call("PATCH", path, json={"disabled": False}).json()["disabled_at"] is None
        assert post.attempt()["state"] == "delivered"
        assert len(receiver.requests) == 1


class TestOutbox:
    def test_tells_of_documents_and_jobs_by_ids_and_states(self, tmp_path: Path, receiver: Receiver) -> None:
        with made(tmp_path) as door:
            collection = door.collection(f"{MARKER} collection")
            post = Post(door, receiver.url)
            good = door.text(collection, f"The {MARKER} sleeps.", f"{MARKER}.txt", external_id=f"{MARKER}-1")
            door.work()
            ids = {"collection_id": collection, "document_id": good["id"]}
            job = {"id": good["job_id"], "kind": "ingest", "attempt": 1, "error": None, **ids}
            ready = {"id": good["id"], "collection_id": collection, "version": 1, "job_id": good["job_id"]}
            assert post.events() == [
                ("document.ready", ready),
                ("job.succeeded", job | {"state": "succeeded"}),
            ]
            files = [("files", ("bad.pdf", b"%PDF-1.7\nnothing"))]
            sent = door.post(f"/v1/collections/{collection}/documents", files=files).json()["documents"][0]
            door.work()
            failed = dict(post.events()[2:])
            assert failed.keys() == {"job.failed", "document.failed"}
            assert failed["document.failed"]["id"] == failed["job.failed"]["document_id"] == sent["id"]
            assert failed["document.failed"]["error"] == failed["job.failed"]["error"]
            assert failed["job.failed"]["error"]["code"]
            waiting = door.text(collection, "Never read.", "c.txt")
            door.post(f"/v1/jobs/{waiting['job_id']}/cancel")
            assert [type_ for type_, _ in post.events()[4:]] == ["job.cancelled"]
            door.delete(f"/v1/documents/{good['id']}")
            deleted = {"id": good["id"], "collection_id": collection}
            assert post.events()[5:] == [("document.deleted", deleted)]
            door.work()
            assert post.events()[6][1]["kind"] == "purge"
            door.delete(f"/v1/collections/{collection}")
            told = [data["id"] for type_, data in post.events()[7:] if type_ == "document.deleted"]
            assert sorted(told) == sorted([sent["id"], waiting["id"]])
            assert MARKER not in door.get(f"/v1/webhooks/{post.id}/deliveries").text

    def test_a_live_version_is_told_of_once(self, hooked: Door, receiver: Receiver) -> None:
        """Its job runs again when the access list changes; the same text is not ready a second time."""
        collection = hooked.collection("ready once")
        post = Post(hooked, receiver.url, collections=[collection], events=["document.ready"])
        hooked.text(collection, access=["user:ann"])
        hooked.work()
        hooked.text(collection, access=["user:bob"])
        hooked.work()
        assert [type_ for type_, _ in post.events()] == ["document.ready"]
        hooked.delete(f"/v1/webhooks/{post.id}")

    def test_an_endpoint_hears_of_its_collections_and_events(self, hooked: Door, receiver: Receiver) -> None:
        one, other = hooked.collection("heard of"), hooked.collection("not heard of")
        post = Post(hooked, receiver.url, collections=["heard of"], events=["job.succeeded"])
        for collection in (one, other):
            hooked.text(collection)
        hooked.work()
        ((type_, data),) = post.events()
        assert (type_, data["collection_id"]) == ("job.succeeded", one)
        hooked.delete(f"/v1/webhooks/{post.id}")

    def test_what_was_rolled_back_is_not_told(self, hooked: Door, receiver: Receiver) -> None:
        collection = hooked.collection("rolled back")
        post = Post(hooked, receiver.url, collections=[collection])
        job_id = hooked.text(collection)["job_id"]
        with hooked.parts.db.begin() as session:
            jobs.cancel(session, access.EVERYTHING, job_id)
            assert session.scalars(select(Delivery.type).where(Delivery.webhook_id == post.id)).all()
            session.rollback()
        assert post.events() == []
        hooked.delete(f"/v1/webhooks/{post.id}")
        hooked.work()


class TestSending:
    def test_is_repeated_under_the_same_id_until_it_is_taken(self, post: Post, receiver: Receiver) -> None:
        receiver.answers = [500, 503]
        id_ = post.test()
        first = post.attempt()
        assert (first["state"], first["attempts"], first["status"]) == ("pending", 1, 500)
        assert post.endpoint()["failing_since"] is not None
        assert post.attempt()["status"] == 503
        done = post.attempt()
        assert (done["state"], done["attempts"], done["status"], done["error"]) == ("delivered", 3, 204, None)
        assert post.endpoint()["failing_since"] is None
        assert [headers["webhook-id"] for _, headers, _ in receiver.requests] == [id_] * 3
        for _, headers, body in receiver.requests:
            verify(post.secret, headers, body)
            assert json.loads(body)["type"] == "webhook.test"
        assert not post.postman.look()

    def test_waits_longer_each_time(self, post: Post, receiver: Receiver) -> None:
        receiver.answers = [500] * 7
        post.test()
        waits = []
        for _ in outbox.SCHEDULE:
            before = now()
            tried = post.attempt()
            waits.append(datetime.fromisoformat(tried["next_at"]) - before)
        for wait, least in zip(waits, outbox.SCHEDULE, strict=True):
            assert least <= wait <= least * 1.2 + timedelta(seconds=10)
        assert timedelta(hours=16) < sum(outbox.SCHEDULE, timedelta()) < timedelta(hours=30)
        last = post.attempt()
        assert (last["state"], last["attempts"], last["error"]) == ("failed", 7, "status_500")
        assert post.endpoint()["disabled_at"] is None  # one bad day is no reason

    def test_does_not_follow_redirects(self, post: Post, receiver: Receiver) -> None:
        receiver.answers = [f"http://127.0.0.1:{receiver.port}/elsewhere"]
        post.test()
        assert post.attempt()["error"] == "status_302"
        assert [path for path, _, _ in receiver.requests] == ["/hook"]

    def test_to_nobody_is_unreachable(self, hooked: Door, post: Post) -> None:
        hooked.call("PATCH", f"/v1/webhooks/{post.id}", json={"url": "http://nobody.invalid/"})
        post.test()
        assert post.attempt()["error"] == "unreachable"

    def test_goes_to_no_private_address(self, door: Door, receiver: Receiver) -> None:
        """As settings are by default; `localhost` is a name that resolves to one."""
        for host in ("127.0.0.1", "localhost"):
            post = Post(door, f"http://{host}:{receiver.port}/")
            post.test()
            assert post.attempt()["error"] == "address_refused"
            post.postman.stop()
            door.delete(f"/v1/webhooks/{post.id}")
        assert receiver.requests == []

    def test_to_a_slow_endpoint_holds_up_no_other(self, post: Post, receiver: Receiver) -> None:
        with receiving() as quick:
            receiver.let_go.clear()
            post.test()
            assert post.postman.look()
            eventually(lambda: receiver.requests, what="the slow one's request")
            other = Post(post.door, quick.url, collections=post.endpoint()["collections"])
            post.test()
            other.test()
            post.postman.look()
            eventually(lambda: other.deliveries(state="delivered"), what="the quick one's delivery")
            assert len(receiver.requests) == 1  # one at a time
            receiver.let_go.set()
            eventually(lambda: not post.postman._busy, what="the slow one's end")
            other.postman.stop()
            post.door.delete(f"/v1/webhooks/{other.id}")

    def test_to_one_that_drips_its_answer_ends(self, post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each byte comes in good time, and all of them would take for ever."""
        monkeypatch.setattr(postman, "TOTAL_SECONDS", 0.5)
        with dripping(b"HTTP/1.1 204 No Content\r\nA: ") as port:
            post.set_endpoint(url=f"http://127.0.0.1:{port}/")
            post.test()
            assert post.attempt()["error"] == "timed_out"

    def test_that_died_is_sent_again(self, post: Post, receiver: Receiver) -> None:
        id_ = post.test()
        with post.door.parts.db.begin() as session:
            ((lost,),) = outbox.claim(session, (), 8).values()
        assert not post.postman.look()  # under its lease
        assert post.attempt()["state"] == "delivered"
        with post.door.parts.db.begin() as session:
            outbox.missed(session, lost, "timed_out")  # a late word of the first attempt changes nothing
        assert post.deliveries()[-1]["state"] == "delivered"
        assert post.endpoint()["failing_since"] is None
        assert [headers["webhook-id"] for _, headers, _ in receiver.requests] == [id_]


class TestGivingUp:
    def disabled(self, post: Post) -> list[Audit]:
        with post.door.parts.db.read() as session:
            rule = (Audit.action == "webhook.disable", Audit.resource == post.id)
            return list(session.scalars(select(Audit).where(*rule)))

    def test_on_an_endpoint_that_fails_for_days(self, post: Post, receiver: Receiver) -> None:
        receiver.answers = [500]
        post.test()
        post.set(attempts=len(outbox.SCHEDULE))
        post.set_endpoint(failing_since=now() - outbox.DISABLED_AFTER - timedelta(seconds=1))
        assert post.attempt()["state"] == "failed"
        assert post.endpoint()["disabled_reason"] == "failing"
        (row,) = self.disabled(post)
        assert (row.actor, row.detail) == ("service", {"reason": "failing"})

    def test_on_an_endpoint_that_says_it_is_gone(self, post: Post, receiver: Receiver) -> None:
        receiver.answers = [410]
        post.test()
        post.attempt()
        assert post.endpoint()["disabled_reason"] == "gone"
        assert len(self.disabled(post)) == 1

    def test_old_deliveries_are_forgotten(self, post: Post) -> None:
        post.test()
        with post.door.parts.db.begin() as session:
            outbox.expire(session, now())
        assert len(post.deliveries()) == 1
        with post.door.parts.db.begin() as session:
            outbox.expire(session, now() + outbox.KEPT)
        assert post.deliveries() == []


class TestDatabase:
    @pytest.mark.service
    def test_two_postmen_claim_different_messages(self) -> None:
        with postgres_database() as url:
            db = Database(url)
            Base.metadata.create_all(db.engine)
            with db.begin() as session:
                maker = keys.holder(session, keys._insert(session, NewKey("admin", "admin"))[1])
                row, _ = webhooks.create(session, maker, Wanted("https://a.example/"))
                expected = {outbox.try_out(session, row).id for _ in range(outbox.BATCH)}
                jobs.end(session, jobs.enqueue(session, JobKind.PURGE, "col"), jobs.JobState.CANCELLED)
            with db.begin() as one, db.begin() as other:
                first = {m.id for each in outbox.claim(one, (), 8).values() for m in each}
                second = {m.id for each in outbox.claim(other, (), 8).values() for m in each}
            assert first == expected
            assert not first & second
            db.dispose()


class TestWorker:
    def test_a_real_one_sends(self, tmp_path: Path, receiver: Receiver) -> None:
        settings = {"IBID_EMBEDDER": "hashing", "IBID_WEBHOOK_ALLOW_PRIVATE": "true"}
        with serving(tmp_path, **settings) as server, server.client() as client:
            hook = client.post("/v1/webhooks", json={"url": receiver.url}).json()
            receiver.answers = [500]
            sent = upload(client, new_collection(client, "c"), ("a.txt", LEAVE.encode()))
            await_jobs(client, [sent[0]["job_id"]])
            eventually(lambda: len(receiver.requests) >= 3, what="two events, one of them twice")
        for _, headers, body in receiver.requests:
            verify(hook["secret"], headers, body)
        told = {headers["webhook-id"]: json.loads(body)["type"] for _, headers, body in receiver.requests}
        assert sorted(told.values()) == ["document.ready", "job.succeeded"]
