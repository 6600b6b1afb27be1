import re
from collections.abc import AsyncGenerator, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from sqlalchemy import func, select

from ibid.chat.port import DraftSentence, Prompt
from ibid.clock import now
from ibid.db.tables import (
    Answer,
    AnswerCitation,
    AnswerEvent,
    AnswerSentence,
    Collection,
    CollectionGrant,
    DocumentGrant,
    Parse,
    Version,
)
from ibid.errors import Unavailable
from ibid.types import Scope
from retrieval import answers, records, views
from retrieval.kit import Kit
from retrieval.records import AnswerOver
from tests.model_stub import Alone
from tests.unit.shelf import ADMIN, ANN, BOB, Shelf

LEAVE = "Employees receive 20 days of paid leave each year. Unused leave is not paid out.\n\nSick pay is granted from the first day of illness."
HEALTH = "The health plan covers dental implants up to 1,500 dollars.\n\nThe health plan does not cover cosmetic surgery."
QUESTION = "How many days of paid leave do employees receive?"


class Scripted(Alone):
    """A model that drafts what it is told to; `before` runs ahead of each sentence."""

    name = "scripted"

    def __init__(self, *drafts: DraftSentence | Exception, before=None) -> None:
        self.drafts, self.before, self.prompts, self.closed = drafts, before, [], False

    async def draft(self, prompt: Prompt) -> AsyncGenerator[DraftSentence, None]:
        self.prompts.append(prompt)
        try:
            for number, draft in enumerate(self.drafts):
                if self.before:
                    await self.before(number)
                if isinstance(draft, Exception):
                    raise draft
                yield draft
        finally:
            self.closed = True


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    made = Shelf(tmp_path)
    yield made
    made.close()


def start(shelf: Shelf, question: str = QUESTION, scope: Scope = ADMIN, **options: str) -> str:
    with shelf.db.begin() as session:
        return records.start(session, scope, "shelf", question, shelf.settings, **options)


def ask(
    shelf: Shelf,
    question: str = QUESTION,
    scope: Scope = ADMIN,
    model: Scripted | None = None,
    **options: str,
) -> str:
    answer_id = start(shelf, question, scope, **options)
    kit: Kit = replace(shelf.kit, models=model) if model else shelf.kit
    anyio.run(answers.run, kit, scope, answer_id)
    return answer_id


def view(shelf: Shelf, answer_id: str, scope: Scope = ADMIN) -> views.AnswerView:
    with shelf.db.read() as session:
        return views.view(session, scope, answer_id)


def events(shelf: Shelf, answer_id: str, after: int = 0, scope: Scope = ADMIN) -> list[views.EventView]:
    with shelf.db.read() as session:
        return views.events_after(session, scope, answer_id, after)


def said(text: str, n: int = 1, *quotes: str) -> DraftSentence:
    return DraftSentence(text, (n,), quotes)


TRUE = said("Employees receive 20 days of paid leave each year.")
AGAIN = said("Employees receive 20 days of paid leave.", 1, TRUE.text)
ALSO = said("Unused leave is not paid out.")
FALSE = said("Every employee owns a spaceship on the moon.")


class TestRun:
    def test_answers_with_exact_citations(self, shelf: Shelf):
        document_id = shelf.add("leave.txt", LEAVE)
        shelf.add("health.txt", HEALTH)
        seen = view(shelf, ask(shelf))
        assert (seen.status, seen.model, seen.reason) == ("completed", "extractive", None)
        assert seen.sentences[0].text == "Employees receive 20 days of paid leave each year."
        assert seen.text.startswith(seen.sentences[0].text)
        assert {sentence.support for sentence in seen.sentences} == {"verified"}
        first = seen.citations[0]
        assert (first.n, first.document_id, first.document, first.version) == (1, document_id, "leave.txt", 1)
        assert first.verified
        for citation in seen.citations:
            with shelf.db.read() as session:
                text = session.scalars(
                    select(Parse.text)
                    .join(Version, Version.parse_key == Parse.key)
                    .where(Version.id == citation.version_id)
                ).one()
            assert citation.quote == text[citation.start : citation.end]
        assert seen.grounding == {"verified": len(seen.sentences), "partially_supported": 0, "unsupported": 0}
        assert {"search", "model", "verification", "first_sentence", "total"} <= set(seen.timings)
        assert seen.generation_id == shelf.generation_id

    def test_events_come_in_order_and_hold_no_text(self, shelf: Shelf):
        shelf.add("leave.txt", LEAVE)
        answer_id = ask(shelf, model=Scripted(TRUE, ALSO, AGAIN))
        found = events(shelf, answer_id)
        assert [event.seq for event in found] == list(range(1, len(found) + 1))
        assert [event.type for event in found] == [
            "answer.created",
            "retrieval.completed",
            "citation.added",
            "answer.delta",
            "citation.added",
            "answer.delta",
            "answer.delta",
            "answer.grounding",
            "answer.completed",
        ]
        assert found[3].data["text"] == TRUE.text
        assert found[2].data["quote"] == TRUE.text
        with shelf.db.read() as session:
            assert not re.search("leave|Employees", str(session.scalars(select(AnswerEvent.data)).all()))

    def test_events_resume_after_a_number(self, shelf: Shelf):
        shelf.add("leave.txt", LEAVE)
        answer_id = ask(shelf)
        found = events(shelf, answer_id)
        assert events(shelf, answer_id, after=3) == found[3:]
        assert events(shelf, answer_id, after=99) == []

    def test_unsupported_sentences_are_marked(self, shelf: Shelf):
        shelf.add("leave.txt", LEAVE)
        seen = view(shelf, ask(shelf, model=Scripted(FALSE, TRUE)))
        assert [(s.text, s.support, s.citations) for s in seen.sentences] == [
            (FALSE.text, "unsupported", ()),
            (TRUE.text, "verified", (1,)),
        ]
        assert seen.status == "completed"

    def test_unsupported_sentences_are_left_out_when_strict(self, shelf: Shelf):
        shelf.add("leave.txt", LEAVE)
        seen = view(shelf, ask(shelf, model=Scripted(FALSE, TRUE, FALSE), policy="strict"))
        assert [sentence.text for sentence in seen.sentences] == [TRUE.text]

    def test_nothing_supported_is_a_refusal_and_no_sentence_leaves(self, shelf: Shelf):
        shelf.add("leave.txt", LEAVE)
        answer_id = ask(shelf, model=Scripted(FALSE, FALSE))
        seen = view(shelf, answer_id)
        assert (seen.status, seen.reason, seen.sentences) == ("refused", "insufficient_evidence", ())
        assert "answer.delta" not in {event.type for event in events(shelf, answer_id)}

    def test_what_was_said_is_not_said_again(self, shelf: Shelf):
        shelf.add("leave.txt", LEAVE)
        seen = view(shelf, ask(shelf, model=Scripted(TRUE, ALSO, TRUE)))
        assert [sentence.text for sentence in seen.sentences] == [TRUE.text, ALSO.text]

    def test_the_prompt_numbers_the_passages(self, shelf: Shelf):
        shelf.add("leave.txt", LEAVE)
        shelf.add("health.txt", HEALTH)
        model = Scripted(TRUE)
        ask(shelf, model=model)
        (prompt,) = model.prompts
        assert [passage.n for passage in prompt.passages] == [1, 2]
        assert (prompt.question, prompt.version) == (QUESTION, "answer-2")
        assert model.closed

    def test_a_model_that_is_away_fails_the_answer(self, shelf: Shelf):
        shelf.add("leave.txt", LEAVE)
        answer_id = ask(shelf, model=Scripted(TRUE, Unavailable("The model did not answer. Try again.")))
        seen = view(shelf, answer_id)
        assert (seen.status, seen.reason, seen.message) == (
            "failed",
            "unavailable",
            "The model did not answer. Try again.",
        )
        assert [sentence.text for sentence in seen.sentences] == [TRUE.text]
        assert events(shelf, answer_id)[-1].type == "answer.failed"

    def test_what_nobody_expected_is_left_to_the_door(self, shelf: Shelf):
        shelf.add("leave.txt", LEAVE)
        with pytest.raises(ExceptionGroup) as raised:
            ask(shelf, model=Scripted(ZeroDivisionError()))
        assert raised.group_contains(ZeroDivisionError)

    def test_two_generations_never_meet_in_an_answer(self, shelf: Shelf):
        shelf.add("leave.txt", LEAVE)
        former = shelf.generation_id

        async def switch(number: int) -> None:
            if number == 1:
                await anyio.to_thread.run_sync(shelf.switch)

        seen = view(shelf, ask(shelf, model=Scripted(TRUE, ALSO, before=switch)))
        assert (seen.status, seen.generation_id) == ("completed", former)
        assert shelf.generation_id != former


class TestRefuse:
    @pytest.mark.parametrize("question", ["What is the capital of Mongolia?", "How do I bake sourdough?"])
    def test_a_question_about_something_else_shows_the_nearest(self, shelf: Shelf, question: str):
        shelf.add("leave.txt", LEAVE)
        shelf.add("health.txt", HEALTH)
        answer_id = ask(shelf, question)
        seen = view(shelf, answer_id)
        assert (seen.status, seen.reason, seen.text) == ("refused", "insufficient_evidence", "")
        assert seen.message
        texts = {"leave.txt": LEAVE, "health.txt": HEALTH}
        assert [texts[hit.document][hit.start : hit.end] for hit in seen.nearest] == [
            hit.text for hit in seen.nearest
        ]
        assert len(seen.nearest) == 2
        last = events(shelf, answer_id)[-1]
        assert last.type == "answer.refused"
        assert len(last.data["nearest"]) == 2

    def test_of_an_empty_collection(self, shelf: Shelf):
        assert view(shelf, ask(shelf)).status == "refused"


class TestStop:
    def test_between_sentences(self, shelf: Shelf):
        shelf.add("leave.txt", LEAVE)

        async def stop(number: int) -> None:
            if number == 1:
                with shelf.db.begin() as session:
                    views.stop(session, ADMIN, session.scalars(select(Answer.id)).one())

        answer_id = ask(shelf, model=Scripted(TRUE, ALSO, before=stop))
        seen = view(shelf, answer_id)
        assert (seen.status, seen.reason) == ("cancelled", "stopped")
        assert [sentence.text for sentence in seen.sentences] == [TRUE.text]
        assert events(shelf, answer_id)[-1].type == "answer.cancelled"

    def test_while_the_model_is_silent(self, shelf: Shelf, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(answers, "BEAT_SECONDS", 0.01)
        shelf.add("leave.txt", LEAVE)

        async def stop_and_wait(_number: int) -> None:
            with shelf.db.begin() as session:
                views.stop(session, ADMIN, session.scalars(select(Answer.id)).one())
            await anyio.sleep_forever()

        model = Scripted(TRUE, before=stop_and_wait)
        seen = view(shelf, ask(shelf, model=model))
        assert (seen.status, seen.reason) == ("cancelled", "stopped")
        assert model.closed

    def test_when_nobody_watches(self, shelf: Shelf, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(answers, "BEAT_SECONDS", 0.01)
        shelf.add("leave.txt", LEAVE)

        async def leave(_number: int) -> None:
            with shelf.db.begin() as session:
                session.scalars(select(Answer)).one().watched_at = now() - timedelta(seconds=61)
            await anyio.sleep_forever()

        seen = view(shelf, ask(shelf, model=Scripted(TRUE, before=leave)))
        assert (seen.status, seen.reason) == ("cancelled", "unwatched")

    def test_of_an_ended_answer_changes_nothing(self, shelf: Shelf):
        shelf.add("leave.txt", LEAVE)
        answer_id = ask(shelf)
        with shelf.db.begin() as session:
            views.stop(session, ADMIN, answer_id)
        assert view(shelf, answer_id).status == "completed"

    def test_watching_is_noted(self, shelf: Shelf):
        answer_id = start(shelf)
        with shelf.db.begin() as session:
            session.get_one(Answer, answer_id).watched_at = now() - timedelta(hours=1)
        with shelf.db.begin() as session:
            views.touch_watched(session, answer_id)
        with shelf.db.read() as session:
            assert now() - session.get_one(Answer, answer_id).watched_at < timedelta(minutes=1)


class TestLease:
    def test_is_renewed_while_running(self, shelf: Shelf, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(answers, "BEAT_SECONDS", 0.01)
        shelf.add("leave.txt", LEAVE)

        async def nearly_lose(_number: int) -> None:
            with shelf.db.begin() as session:
                session.scalars(select(Answer)).one().lease_until = now() + timedelta(seconds=1)
            while True:
                await anyio.sleep(0.01)
                with shelf.db.read() as session:
                    if session.scalars(select(Answer.lease_until)).one() > now() + timedelta(seconds=10):
                        return

        assert view(shelf, ask(shelf, model=Scripted(TRUE, before=nearly_lose))).status == "completed"

    def test_an_expired_one_ends_the_answer_as_interrupted(self, shelf: Shelf):
        answer_id = start(shelf)
        with shelf.db.begin() as session:
            assert records.end_interrupted(session) == 0
            session.get_one(Answer, answer_id).lease_until = now() - timedelta(seconds=1)
            assert records.end_interrupted(session) == 1
        seen = view(shelf, answer_id)
        assert (seen.status, seen.reason) == ("failed", "interrupted")
        assert [event.type for event in events(shelf, answer_id)] == ["answer.created", "answer.failed"]

    def test_a_run_that_lost_it_writes_nothing_more(self, shelf: Shelf):
        shelf.add("leave.txt", LEAVE)

        async def sweep(number: int) -> None:
            if number == 1:
                with shelf.db.begin() as session:
                    session.scalars(select(Answer)).one().lease_until = now() - timedelta(seconds=1)
                    assert records.end_interrupted(session) == 1

        answer_id = ask(shelf, model=Scripted(TRUE, ALSO, before=sweep))
        seen = view(shelf, answer_id)
        assert (seen.status, len(seen.sentences)) == ("failed", 1)
        assert events(shelf, answer_id)[-1].type == "answer.failed"

    def test_the_door_fails_an_answer_once(self, shelf: Shelf):
        answer_id = start(shelf)
        answers.fail(shelf.db, answer_id, "internal", "Something broke.")
        answers.fail(shelf.db, answer_id, "internal", "Something broke again.")
        assert view(shelf, answer_id).message == "Something broke."
        assert len(events(shelf, answer_id)) == 2
        with pytest.raises(AnswerOver), shelf.db.begin() as session:
            records.complete(session, answer_id)


class TestDelete:
    def test_in_the_middle_releases_no_sentence_of_the_document(self, shelf: Shelf):
        leave, health = shelf.add("leave.txt", LEAVE), shelf.add("health.txt", HEALTH)

        async def delete(number: int) -> None:
            if number == 1:
                shelf.delete(leave)

        dental = DraftSentence("The health plan covers dental implants up to 1,500 dollars.")
        model = Scripted(DraftSentence(TRUE.text), DraftSentence(ALSO.text), dental, before=delete)
        seen = view(shelf, ask(shelf, "What leave do employees receive under the health plan?", model=model))
        assert [(s.text, s.withdrawn) for s in seen.sentences] == [("", True), (dental.text, False)]
        assert {citation.document_id for citation in seen.citations} == {health}
        with shelf.db.read() as session:
            assert ALSO.text not in session.scalars(select(AnswerSentence.text)).all()

    def test_before_the_first_sentence_is_a_refusal_without_it(self, shelf: Shelf):
        leave = shelf.add("leave.txt", LEAVE)

        async def delete(_number: int) -> None:
            shelf.delete(leave)

        seen = view(shelf, ask(shelf, model=Scripted(TRUE, before=delete)))
        assert (seen.status, seen.nearest, seen.sentences) == ("refused", (), ())

    def test_withdraws_from_answer_events_and_replay(self, shelf: Shelf):
        leave = shelf.add("leave.txt", LEAVE)
        answer_id = ask(shelf)
        with shelf.db.read() as session:
            assert views.replay(session, ADMIN, answer_id).text
        shelf.delete(leave)
        seen = view(shelf, answer_id)
        assert (seen.status, seen.text, seen.citations) == ("completed", "", ())
        assert all(sentence.withdrawn and not sentence.text for sentence in seen.sentences)
        assert "Employees receive" not in str(events(shelf, answer_id)).replace(QUESTION, "")
        with shelf.db.read() as session:
            assert set(session.scalars(select(AnswerSentence.text))) == {""}
            with pytest.raises(views.SourceDeleted) as gone:
                views.replay(session, ADMIN, answer_id)
        assert gone.value.code == "source_deleted"

    def test_withdraws_sentences_that_may_have_its_words_without_citing_it(self, shelf: Shelf):
        leave = shelf.add("leave.txt", LEAVE)
        secret = shelf.add("secret.txt", "Paid leave of employees is called quillwort leave.")
        told = (TRUE, said("Everybody likes quillwort days."), DraftSentence(TRUE.text + " Quillwort!"))
        answer_id = ask(shelf, model=Scripted(*told))
        before = view(shelf, answer_id)
        assert {citation.document_id for citation in before.citations} == {leave}
        assert len(before.sentences) == 3
        shelf.delete(secret)
        seen = view(shelf, answer_id)
        assert [(s.text, s.withdrawn) for s in seen.sentences] == [(TRUE.text, False), ("", True), ("", True)]
        assert "uillwort" not in str(events(shelf, answer_id))
        with shelf.db.read() as session, pytest.raises(views.SourceDeleted):
            views.replay(session, ADMIN, answer_id)

    def test_withdraws_a_verified_sentence_with_one_word_that_it_has_from_nowhere_else(self, shelf: Shelf):
        long = "Employees receive 20 days of paid leave each calendar year under contract seven of the northern works council."
        shelf.add("leave.txt", long)
        secret = shelf.add("secret.txt", "Paid leave of employees is called quillwort leave.")
        told = DraftSentence(long.replace("leave", "quillwort leave"), (1, 2), (long,))
        answer_id = ask(shelf, model=Scripted(told))
        assert [s.support for s in view(shelf, answer_id).sentences] == ["verified"]
        shelf.delete(secret)
        assert view(shelf, answer_id).text == ""

    def test_in_the_middle_releases_no_words_of_it_that_cite_nothing(self, shelf: Shelf):
        shelf.add("leave.txt", LEAVE)
        secret = shelf.add("secret.txt", "Paid leave of employees is called quillwort leave.")

        async def delete(number: int) -> None:
            if number == 1:
                shelf.delete(secret)

        told = (said("Quillwort days are liked."), TRUE, said("Everybody likes quillwort days."), ALSO)
        seen = view(shelf, ask(shelf, model=Scripted(*told, before=delete)))
        assert [s.text for s in seen.sentences] == [TRUE.text, ALSO.text]

    def test_of_a_document_that_no_answer_saw_withdraws_nothing(self, shelf: Shelf):
        shelf.add("leave.txt", LEAVE)
        answer_id = ask(shelf, model=Scripted(TRUE, FALSE))
        before = view(shelf, answer_id)
        shelf.delete(shelf.add("late.txt", HEALTH))
        assert view(shelf, answer_id) == before

    def test_removes_nearest_passages(self, shelf: Shelf):
        leave, health = shelf.add("leave.txt", LEAVE), shelf.add("health.txt", HEALTH)
        answer_id = ask(shelf, "What is the capital of Mongolia?")
        shelf.delete(leave)
        assert {hit.document_id for hit in view(shelf, answer_id).nearest} <= {health}

    def test_superseding_withdraws_nothing(self, shelf: Shelf):
        leave = shelf.add("leave.txt", LEAVE)
        answer_id = ask(shelf)
        before = view(shelf, answer_id)
        shelf.replace(leave, "There is no leave any more.")
        assert view(shelf, answer_id) == before


class TestAccess:
    def test_an_answer_is_its_askers(self, shelf: Shelf):
        shelf.add("leave.txt", LEAVE)
        answer_id = ask(shelf, scope=ANN)
        assert view(shelf, answer_id, ANN).status == view(shelf, answer_id, ADMIN).status == "completed"
        other_key = replace(ANN, key_id="key_other")
        acting_admin = replace(BOB, role="admin", key_id="key_admin")
        for stranger in (BOB, other_key, acting_admin):
            with pytest.raises(views.AnswerNotFound):
                view(shelf, answer_id, stranger)
            with pytest.raises(views.AnswerNotFound):
                events(shelf, answer_id, scope=stranger)
            with pytest.raises(views.AnswerNotFound), shelf.db.begin() as session:
                views.stop(session, stranger, answer_id)

    def test_unknown(self, shelf: Shelf):
        with pytest.raises(views.AnswerNotFound) as missing:
            view(shelf, "ans_none")
        assert missing.value.code == "answer_not_found"

    def test_what_the_asker_may_no_longer_see_is_withheld(self, shelf: Shelf):
        leave = shelf.add("leave.txt", LEAVE, grants=["user:ann"])
        answer_id = ask(shelf, scope=ANN)
        assert view(shelf, answer_id, ANN).citations
        with shelf.db.begin() as session:
            session.delete(session.get_one(DocumentGrant, (leave, "user:ann")))
        seen = view(shelf, answer_id, ANN)
        assert (seen.text, seen.citations) == ("", ())
        assert all(sentence.withdrawn for sentence in seen.sentences)
        assert view(shelf, answer_id, ADMIN).citations

    def test_sentences_with_words_of_a_document_out_of_sight_are_withheld_without_a_citation(
        self, shelf: Shelf
    ):
        shelf.add("leave.txt", LEAVE)
        granted = ["user:ann"]
        secret = shelf.add("secret.txt", "Paid leave of employees is called quillwort leave.", grants=granted)
        told = (TRUE, said("Everybody likes quillwort days."), DraftSentence(TRUE.text + " Quillwort!"))
        answer_id = ask(shelf, scope=ANN, model=Scripted(*told))
        assert "uillwort" in view(shelf, answer_id, ANN).text
        with shelf.db.begin() as session:
            session.delete(session.get_one(DocumentGrant, (secret, "user:ann")))
        seen = view(shelf, answer_id, ANN)
        assert [(s.text, s.withdrawn) for s in seen.sentences] == [(TRUE.text, False), ("", True), ("", True)]
        assert "uillwort" not in str(events(shelf, answer_id, scope=ANN))
        with shelf.db.read() as session, pytest.raises(views.SourceDeleted):
            views.replay(session, ANN, answer_id)
        assert "uillwort" in view(shelf, answer_id, ADMIN).text

    def test_a_collection_closed_to_the_asker_withholds_too(self, shelf: Shelf):
        shelf.add("leave.txt", LEAVE)
        answer_id = ask(shelf, scope=ANN)
        with shelf.db.begin() as session:
            session.get_one(Collection, shelf.collection_id).restricted = True
            session.add(CollectionGrant(collection_id=shelf.collection_id, principal="user:bob"))
        assert view(shelf, answer_id, ANN).text == ""


class TestNumbers:
    def test_the_same_words_are_cited_once(self, shelf: Shelf):
        shelf.add("leave.txt", LEAVE)
        answer_id = ask(shelf, model=Scripted(TRUE, AGAIN, ALSO))
        assert [sentence.citations for sentence in view(shelf, answer_id).sentences] == [(1,), (1,), (2,)]
        with shelf.db.read() as session:
            assert session.scalar(select(func.count()).select_from(AnswerCitation)) == 2
