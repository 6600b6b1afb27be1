"""Fitting a collection's search from the request to what searches do with it, and back."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update

from ibid import claims, fits, generations
from ibid.claims import Claim, LeaseLost
from ibid.clock import now
from ibid.db.tables import Answer, Fit, Job
from ibid.types import JobKind, JobState
from retrieval import trial
from retrieval.kit import Kit
from tests.door import Door, made
from tests.services import postgres_database
from worker import housekeeping

PLACES = 36
SYLLABLES = (
    "bra",
    "cken",
    "mor",
    "quil",
    "tha",
    "wort",
    "zeph",
    "lin",
    "dor",
    "fen",
    "gar",
    "hol",
    "mar",
    "pul",
)
LEASE = timedelta(seconds=20)
# The meaning finds what is misspelt, the words find what is not. Two questions of three mislead the words, and one, a
# little, the meaning: neither leg alone is as good as both with more of the meaning than the preset has.
MISLEADING = ("{name}ly {name}ish {other}side", "{name}ly {name}ish {other}side", "{name}side {other}ly")
SENTENCE = (
    "Ships of the {name} line call at the pier of {name} on {day} mornings and leave before noon for {next}."
)


def name_of(place: int) -> str:
    """A name of four syllables that no other place has."""
    digits = (place % 14, place // 14, (place * 5 + 3) % 14, (place * 3 + 1) % 14)
    return "".join(SYLLABLES[digit] for digit in digits)


def text_of(place: int) -> str:
    return (
        f"{name_of(place)} has a pier. In {name_of(place)}side there is an inn for weary travellers on foot."
    )


@dataclass(frozen=True)
class Coast:
    """A collection `coast` with a document for each place, by its number."""

    door: Door
    places: dict[int, str]

    def golden(self) -> list[dict[str, Any]]:
        """Questions that each leg alone gets wrong, some of them."""
        return [
            {
                "query": MISLEADING[place % 3].format(
                    name=name_of(place), other=name_of((place + 7) % PLACES)
                ),
                "document_id": document_id,
            }
            for place, document_id in self.places.items()
        ]

    def start(self, questions: list[dict[str, Any]] | None = None, **more: Any) -> Any:
        return start(self.door, questions, **more)

    def fitted(self, questions: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        return fitted(self.door, questions)

    def plan(self, **more: Any) -> dict[str, Any]:
        asked = {"collection": "coast", "query": "Where is the pier?", **more}
        found = self.door.post("/v1/search", json=asked)
        assert found.status_code == 200, found.text
        return dict(found.json()["plan"])

    def rows(self) -> int:
        with self.door.parts.db.read() as session:
            return session.scalar(select(func.count()).select_from(Fit)) or 0

    def questions_kept(self) -> list[Any]:
        with self.door.parts.db.read() as session:
            return [each for kept in session.scalars(select(Fit.questions)) for each in kept or ()]

    def claim(self) -> Claim:
        with self.door.parts.db.begin() as session:
            (held,) = claims.claim(session, "w", lease=LEASE, limit=16)
        return held

    @property
    def kit(self) -> Kit:
        found: Kit = self.door.client.app.state.wiring.kit
        return found


def start(door: Door, questions: list[dict[str, Any]] | None = None, **more: Any) -> Any:
    body = {} if questions is None else {"questions": questions}
    return door.post("/v1/collections/coast/fits", json=body, **more)


def fitted(door: Door, questions: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """A fit that has ended."""
    begun = start(door, questions)
    assert begun.status_code == 202, begun.text
    door.work()
    return dict(door.get(f"/v1/fits/{begun.json()['id']}").json())


@contextmanager
def furnished(folder: Path, url: str = "") -> Iterator[Coast]:
    with made(folder, url) as door:
        collection = door.collection("coast")
        texts = {place: (text_of(place), f"place-{place}.txt") for place in range(PLACES)}
        places = {place: door.text(collection, *text)["id"] for place, text in texts.items()}
        door.work()
        yield Coast(door, places)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coast]:
    with furnished(tmp_path_factory.mktemp("coast")) as coast:
        yield coast


@pytest.fixture
def coast(shared: Coast) -> Iterator[Coast]:
    """Without a fit before and after."""
    yield shared
    with shared.door.parts.db.begin() as session:
        session.execute(delete(Fit))
        session.execute(delete(Job).where(Job.kind == JobKind.FIT))


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Coast]:
    """For tests that change more than its fits."""
    with furnished(tmp_path) as coast:
        yield coast


class TestFit:
    def test_weights_that_are_better_are_searched_with(self, coast: Coast) -> None:
        begun = coast.start(coast.golden()).json()
        assert (begun["state"], begun["source"], begun["in_force"], begun["report"]) == (
            "fitting",
            "given",
            False,
            None,
        )
        assert coast.plan()["fitted"] is None
        coast.door.work()
        done = coast.door.get(f"/v1/fits/{begun['id']}").json()
        report = done["report"]
        assert (done["state"], done["in_force"], report["adopted"]) == ("adopted", True, True), report
        assert (report["questions"], report["left_out"]) == (PLACES, 0)
        assert report["means"]["fitted"] >= max(report["means"]["dense"], report["means"]["sparse"])
        assert report["gain"]["low"] > 0
        shown = coast.plan()
        assert shown["fitted"] == done["id"]
        assert {name: shown[name] for name in report["weights"]} == report["weights"]
        job = coast.door.get(f"/v1/jobs/{done['job_id']}").json()
        assert (job["kind"], job["state"], job["stage"]) == ("fit", "succeeded", "fitted")
        assert job["progress"] == {"done": PLACES, "total": PLACES, "unit": "questions"}
        assert job["statistics"] == {"fit_id": done["id"], "adopted": True}

    def test_whoever_turns_a_knob_or_names_another_preset_has_that(self, coast: Coast) -> None:
        coast.fitted(coast.golden())
        turned = coast.plan(knobs={"candidates": 50})
        assert (turned["fitted"], turned["dense_weight"], turned["candidates"]) == (None, 0.5, 50)
        assert coast.plan(preset="thorough")["fitted"] is None
        assert coast.plan(knobs={})["fitted"] is not None

    def test_answers_and_explanations_search_as_everybody_does(self, coast: Coast) -> None:
        asked = [{"collection": "coast", "limit": 1, **each} for each in coast.golden()]
        before = [coast.door.post("/v1/search/explain", json=each).json()["stage"] for each in asked]
        misled = asked[before.index("fusion")]
        done = coast.fitted(coast.golden())
        assert coast.door.post("/v1/search/explain", json=misled).json()["stage"] == "shown"
        answered = coast.door.post(
            "/v1/answers", json={"collection": "coast", "question": misled["query"]}
        ).json()
        with coast.door.parts.db.read() as session:
            kept = session.get_one(Answer, answered["id"]).settings
        assert kept["plan"]["fitted"] == done["id"]

    def test_one_at_a_time(self, coast: Coast) -> None:
        coast.start()
        assert coast.door.code(coast.start()) == (409, "fit_running")
        coast.door.work()
        assert coast.start().status_code == 202

    def test_a_repetition_under_a_key_starts_none(self, coast: Coast) -> None:
        key = {"Idempotency-Key": "once"}
        first, again = (coast.start(coast.golden(), headers=key) for _ in range(2))
        assert again.json() == first.json()
        assert coast.rows() == 1

    def test_questions_of_its_own_text(self, own: Coast) -> None:
        for place in range(PLACES):
            words = {"name": name_of(place), "next": name_of((place + 1) % PLACES), "day": "Tuesday"}
            own.door.text("coast", SENTENCE.format(**words), f"line-{place}.txt")
        own.door.work()
        first, second = own.fitted(), own.fitted()
        report = first["report"]
        assert first["source"] == "generated"
        assert report["questions"] > 0
        assert "favours" in report["caution"]
        assert 0.3 <= report["weights"]["dense_weight"] <= 0.7
        assert second["report"] == report

    def test_few_questions_change_nothing(self, coast: Coast) -> None:
        done = coast.fitted(coast.golden()[:20])
        assert (done["state"], done["in_force"]) == ("not_adopted", False)
        assert "20 questions" in done["report"]["reason"]
        assert coast.plan()["fitted"] is None

    def test_an_empty_collection_has_none(self, tmp_path: Path) -> None:
        with made(tmp_path) as door:
            door.collection("coast")
            assert fitted(door)["report"]["means"] is None

    def test_pages_and_sentences_answer_too(self, coast: Coast) -> None:
        first = text_of(0).split(". ")[0] + "."
        found = coast.fitted(
            [
                {"query": "pier", "document_id": coast.places[0], "sentence": first},
                {"query": "pier", "document_id": coast.places[1], "sentence": text_of(1)},
                {"query": "pier", "document_id": coast.places[2], "sentence": "It was never written."},
                {"query": "pier", "document_id": coast.places[3], "page": 1},
                {"query": "pier", "document_id": coast.places[4]},
            ],
        )
        # Questions with the same words are one; texts have no pages.
        assert (found["report"]["questions"], found["report"]["left_out"]) == (2, 2)


class TestRefusal:
    @pytest.mark.parametrize(
        ("wrong", "code"),
        [
            ({"query": "pier", "document_id": "doc_none"}, "fit_question_invalid"),
            ({"query": " ", "document_id": "doc_none"}, "question_empty"),
            (
                {"query": "pier", "document_id": "PLACE", "page": 1, "sentence": "pier"},
                "fit_question_invalid",
            ),
            ({"query": "pier", "document_id": "PLACE", "page": 0}, "invalid_request"),
            ({"query": "pier"}, "invalid_request"),
        ],
    )
    def test_of_questions_that_ask_for_nothing(self, coast: Coast, wrong: dict[str, Any], code: str) -> None:
        if wrong.get("document_id") == "PLACE":
            wrong = wrong | {"document_id": coast.places[0]}
        assert coast.door.code(coast.start([wrong])) == (422, code)
        assert coast.rows() == 0

    def test_of_documents_of_another_collection(self, coast: Coast) -> None:
        other = coast.door.text(coast.door.collection("elsewhere"), "A pier.")["id"]
        coast.door.work()
        refused = coast.start([{"query": "pier", "document_id": other}])
        assert coast.door.code(refused) == (422, "fit_question_invalid")

    def test_of_an_end_that_is_tried_again(self, coast: Coast) -> None:
        job_id = coast.start().json()["job_id"]
        assert coast.door.post(f"/v1/jobs/{job_id}/cancel").json()["state"] == "cancelled"
        assert coast.door.code(coast.door.post(f"/v1/jobs/{job_id}/retry")) == (409, "job_not_retryable")

    def test_of_editors(self, coast: Coast) -> None:
        job_id = coast.start().json()["job_id"]
        refused = coast.door.post(f"/v1/jobs/{job_id}/cancel", key=coast.door.key("editor"))
        assert coast.door.code(refused) == (403, "role_too_low")


class TestRollback:
    def test_to_the_fit_before_and_then_to_the_preset(self, coast: Coast) -> None:
        first, second = coast.fitted(coast.golden()), coast.fitted(coast.golden()[:35])
        assert [second["state"], coast.plan()["fitted"]] == ["adopted", second["id"]]
        assert coast.door.code(coast.door.post(f"/v1/fits/{first['id']}/rollback")) == (
            409,
            "fit_not_in_force",
        )
        back = coast.door.post(f"/v1/fits/{second['id']}/rollback").json()
        assert (back["state"], back["in_force"]) == ("rolled_back", False)
        assert coast.plan()["fitted"] == first["id"]
        coast.door.post(f"/v1/fits/{first['id']}/rollback")
        assert (coast.plan()["fitted"], coast.plan()["dense_weight"]) == (None, 0.5)
        listed = coast.door.get("/v1/collections/coast/fits").json()["data"]
        assert [each["id"] for each in listed] == [second["id"], first["id"]]
        assert {each["state"] for each in listed} == {"rolled_back"}

    def test_another_generation_starts_from_the_preset(self, own: Coast) -> None:
        done = own.fitted(own.golden())
        reindex = own.door.post(
            "/v1/collections/coast/reindexes", json={"chunker": {"max_tokens": 100}}
        ).json()
        own.door.work()
        assert own.plan()["fitted"] is None
        assert own.door.get(f"/v1/fits/{done['id']}").json()["in_force"] is False
        assert own.door.code(own.door.post(f"/v1/fits/{done['id']}/rollback")) == (409, "fit_not_in_force")
        own.door.post(f"/v1/reindexes/{reindex['id']}/rollback")
        assert own.plan()["fitted"] == done["id"]


class TestInterruption:
    def test_a_lost_attempt_changes_nothing(self, coast: Coast) -> None:
        begun = coast.start(coast.golden()).json()
        lost = coast.claim()
        with coast.door.parts.db.begin() as session:
            session.execute(update(Job).where(Job.state == JobState.RUNNING).values(lease_until=now()))
            claims.sweep(session, max_failures=3)
            session.execute(update(Job).values(not_before=now()))
        held = coast.claim()
        with pytest.raises(LeaseLost):
            trial.fit(coast.kit, lost, lambda: None)
        assert coast.door.get(f"/v1/fits/{begun['id']}").json()["report"] is None
        trial.fit(coast.kit, held, lambda: None)
        done = coast.door.get(f"/v1/fits/{begun['id']}").json()
        assert done["state"] == "adopted"
        with pytest.raises(LeaseLost):
            trial.fit(coast.kit, held, lambda: None)

    def test_one_that_is_cancelled_while_it_asks_ends(self, coast: Coast) -> None:
        begun = coast.start(coast.golden()).json()
        held = coast.claim()

        def cancel() -> None:
            if not cancelled:
                cancelled.append(coast.door.post(f"/v1/jobs/{begun['job_id']}/cancel"))

        cancelled: list[Any] = []
        with pytest.raises(LeaseLost):
            trial.fit(coast.kit, held, cancel)
        with coast.door.parts.db.begin() as session:
            assert claims.cancelled(session, held)
        assert coast.door.get(f"/v1/fits/{begun['id']}").json()["state"] == "cancelled"
        assert coast.start().status_code == 202


class TestForgetting:
    def test_questions_are_kept_until_the_end_alone(self, coast: Coast) -> None:
        coast.start(coast.golden())
        assert len(coast.questions_kept()) == PLACES
        coast.door.work()
        assert coast.questions_kept() == []

    def test_also_if_it_ends_otherwise(self, coast: Coast) -> None:
        begun = coast.start(coast.golden()).json()
        coast.door.post(f"/v1/jobs/{begun['job_id']}/cancel")
        housekeeping.sweep(coast.door.parts, now())
        assert coast.questions_kept() == []
        with coast.door.parts.db.read() as session:
            assert session.get_one(Fit, begun["id"]).state == "cancelled"

    def test_those_about_a_deleted_document_go_with_it(self, own: Coast) -> None:
        asked = [each | {"sentence": text_of(place)} for place, each in enumerate(own.golden())]
        begun = own.start(asked).json()
        held = own.claim()
        job_id = own.door.delete(f"/v1/documents/{own.places[3]}").json()["job_id"]
        with own.door.parts.db.read() as session:
            assert session.scalar(select(Fit.id).where(fits.asks_of(own.places[3]))) == begun["id"]
        own.door.work()
        certificate = own.door.get(f"/v1/jobs/{job_id}").json()
        assert certificate["state"] == "succeeded"
        assert certificate["statistics"]["removed"]["fit_questions"] == 1
        assert own.places[3] not in {each["document_id"] for each in own.questions_kept()}
        trial.fit(own.kit, held, lambda: None)
        report = own.door.get(f"/v1/fits/{begun['id']}").json()["report"]
        assert report["questions"] == PLACES - 1

    def test_reports_and_logs_hold_no_text(self, coast: Coast, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.DEBUG):
            given, generated = coast.fitted(coast.golden()), coast.fitted()
        told = json.dumps([given, generated, caplog.text]).lower()
        assert not [place for place in range(PLACES) if name_of(place) in told]

    def test_they_go_with_the_collection(self, own: Coast) -> None:
        done = own.fitted(own.golden())
        own.door.delete("/v1/collections/coast")
        assert own.door.code(own.door.get(f"/v1/fits/{done['id']}")) == (404, "fit_not_found")
        own.door.work()
        assert own.rows() == 0

    def test_and_with_the_generation(self, own: Coast) -> None:
        own.fitted(own.golden())
        own.door.post("/v1/collections/coast/reindexes", json={"chunker": {"max_tokens": 100}})
        own.door.work()
        assert own.rows() == 1
        with own.door.parts.db.begin() as session:
            assert generations.expire(session, kept=timedelta()) == 1
        own.door.work()
        assert own.rows() == 0


@pytest.mark.service
def test_on_postgresql(tmp_path: Path) -> None:
    """Adopted without the question about a deleted document, rolled back; another one is cancelled and tidied."""
    with postgres_database() as url, furnished(tmp_path, url) as own:
        begun = own.start(own.golden()).json()
        held = own.claim()
        own.door.delete(f"/v1/documents/{own.places[3]}")
        own.door.work()
        assert len(own.questions_kept()) == PLACES - 1
        trial.fit(own.kit, held, lambda: None)
        assert own.door.get(f"/v1/fits/{begun['id']}").json()["state"] == "adopted"
        assert own.plan()["fitted"] == begun["id"]
        assert own.door.post(f"/v1/fits/{begun['id']}/rollback").json()["in_force"] is False
        assert own.plan()["fitted"] is None
        other = own.start(own.golden()[4:]).json()
        own.door.post(f"/v1/jobs/{other['job_id']}/cancel")
        housekeeping.sweep(own.door.parts, now())
        assert own.questions_kept() == []
        own.door.delete("/v1/collections/coast")
        own.door.work()
        assert own.rows() == 0
