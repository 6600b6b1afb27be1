from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from ibid.access import CollectionNotFound
from ibid.clock import now
from ibid.db.tables import Collection, CollectionGrant, DocumentGrant
from ibid.embedding.port import EmbedderUnavailable
from retrieval.plan import BALANCED, Plan
from retrieval.questions import QuestionEmpty, QuestionTooLong, cleaned
from retrieval.search import AsOfTooOld, IndexMissing, LimitOutOfRange, search
from tests.unit.shelf import ADMIN, ANN, BOB, Shelf, ago

TIDES = "The tide turns twice a day.\n\nThe moon pulls the sea towards it, and the tide follows."
BREAD = "Bread needs flour, water and salt.\n\nA sourdough starter is fed every day."


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    made = Shelf(tmp_path)
    yield made
    made.close()


class TestSearch:
    def test_finds_the_passage_with_exact_span_and_scores_of_both_legs(self, shelf: Shelf):
        document_id = shelf.add("tides.txt", TIDES)
        shelf.add("bread.txt", BREAD)
        found = search(shelf.kit, ADMIN, "shelf", "What does the moon pull?", 3)
        best = found.hits[0]
        assert best.document_id == document_id
        assert best.text == TIDES[best.start : best.end]
        assert "The moon pulls the sea towards it, and the tide follows." in best.text
        assert best.legs.dense is not None
        assert best.legs.sparse is not None
        assert (found.collection_id, found.generation_id) == (shelf.collection_id, shelf.generation_id)
        assert set(found.timings) == {"resolve", "encode", "engine", "fusion", "check", "total"}

    def test_scores_never_ascend(self, shelf: Shelf):
        for n in range(30):
            shelf.add(f"page {n}", f"Paragraph {n} of the tide book.")
        scores = [hit.score for hit in search(shelf.kit, ADMIN, "shelf", "tide paragraph 7", 20).hits]
        assert len(scores) == 20
        assert scores == sorted(scores, reverse=True)

    def test_by_id_is_by_name(self, shelf: Shelf):
        shelf.add("tides.txt", TIDES)
        by_name, by_id = (
            search(shelf.kit, ADMIN, ref, "tide", 5).hits for ref in ("shelf", shelf.collection_id)
        )
        assert by_name == by_id

    def test_of_an_empty_collection_is_empty(self, shelf: Shelf):
        assert search(shelf.kit, ADMIN, "shelf", "tide", 5).hits == ()

    def test_of_a_lost_index_says_so(self, shelf: Shelf):
        shelf.add("tides.txt", TIDES)
        shelf.store.drop(shelf.generation_id)
        with pytest.raises(IndexMissing, match="2 passages"):
            search(shelf.kit, ADMIN, "shelf", "tide", 5)

    def test_a_question_of_stop_words_still_works(self, shelf: Shelf):
        shelf.add("tides.txt", TIDES)
        assert search(shelf.kit, ADMIN, "shelf", "what is the?", 5).hits

    def test_only_in_given_documents(self, shelf: Shelf):
        shelf.add("tides.txt", TIDES)
        bread = shelf.add("bread.txt", BREAD)
        hits = search(shelf.kit, ADMIN, "shelf", "tide", 5, document_ids=[bread]).hits
        assert {hit.document_id for hit in hits} == {bread}

    def test_in_no_document_is_empty(self, shelf: Shelf):
        shelf.add("tides.txt", TIDES)
        assert search(shelf.kit, ADMIN, "shelf", "tide", 5, document_ids=[]).hits == ()

    def test_quoted_words_must_be_there(self, shelf: Shelf):
        for n in range(40):
            shelf.add(f"note {n}", f"Note {n} on tide and turn and twice. The turn, twice.")
        tides = shelf.add("tides.txt", TIDES)
        question = 'Which note says "tide  turns TWICE"?'
        found = search(shelf.kit, ADMIN, "shelf", question, 5, plan=Plan(candidates=3))
        assert [hit.document_id for hit in found.hits] == [tides]
        assert found.analysis.phrases == ("tide turns TWICE",)
        free = search(shelf.kit, ADMIN, "shelf", question, 5, plan=Plan(quoted=False))
        assert len(free.hits) == 5
        none = search(shelf.kit, ADMIN, "shelf", 'Who said "nothing of the kind"?', 5)
        assert none.hits == ()

    def test_the_name_of_a_document_may_be_quoted(self, shelf: Shelf):
        bread = shelf.add("Bread handbook.txt", BREAD)
        shelf.add("tides.txt", TIDES)
        hits = search(shelf.kit, ADMIN, "shelf", 'flour in the "bread handbook"', 5).hits
        assert {hit.document_id for hit in hits} == {bread}

    def test_identifiers_numbers_and_dates_may_count_more(self, shelf: Shelf):
        for n in range(1, 9):
            shelf.add(f"order {n}", f"Order AB-{n} of 30 buckets was delivered on {n} May 2024.")
        question = "When were the 30 buckets of order AB-7 delivered, on 7 May 2024?"
        plain, exact = (
            search(shelf.kit, ADMIN, "shelf", question, 8, plan=Plan(exact_weight=weight)).hits
            for weight in (0.0, 1.0)
        )
        assert exact[0].document == "order 7"
        assert exact[0].score > exact[1].score + 0.2
        assert {hit.document for hit in plain} == {hit.document for hit in exact}

    def test_what_has_nothing_exact_is_weighed_alike(self, shelf: Shelf):
        for n in range(12):
            shelf.add(f"order {n}", f"Order AB-{n} was delivered.\n\nOrder AB-{n} was paid.")
        for much in (0.0, 0.01):
            plan = Plan(exact_weight=1.0, diversity=much)
            hits = search(shelf.kit, ADMIN, "shelf", "order AB-7 was delivered", 2, plan=plan).hits
            assert hits[0].document == "order 7"
        plan = Plan(exact_weight=1.0, passage_chunks=1)
        scores = [hit.score for hit in search(shelf.kit, ADMIN, "shelf", "order AB-7", 20, plan=plan).hits]
        assert scores == sorted(scores, reverse=True)

    def test_different_passages_come_before_like_ones(self, shelf: Shelf):
        for n in range(4):
            shelf.add(f"twin {n}", "The tide turns twice a day.")
        shelf.add("other", "The tide table is printed once a year.")
        question = "When does the tide turn?"
        alike, different = (
            [hit.document for hit in search(shelf.kit, ADMIN, "shelf", question, 2, plan=plan).hits]
            for plan in (Plan(), Plan(diversity=0.9))
        )
        assert "other" not in alike
        assert different[0] == alike[0]
        assert different[1] == "other"

    def test_passages_fit_a_budget(self, shelf: Shelf):
        for n in range(6):
            shelf.add(f"note {n}", f"The tide turns at {n} o'clock.")  # six tokens here
        for budget, shown in ((0, 6), (1, 1), (12, 2), (17, 2), (18, 3)):
            hits = search(shelf.kit, ADMIN, "shelf", "tide", 10, plan=Plan(max_tokens=budget)).hits
            assert len(hits) == shown

    def test_a_passage_grows_to_its_section(self, shelf: Shelf):
        text = "\n\n".join(f"Paragraph {n} of the chapter on {name}." for n, name in enumerate("abcdefgh"))
        shelf.add("book", text)
        shelf.add("other", "Bread needs flour.")
        question = "paragraph 4 of the chapter on e"
        for most, shown in ((0, "4"), (1, "4"), (2, "45"), (3, "345"), (6, "234567"), (20, "01234567")):
            plan = Plan(nearby_weight=0, passage_chunks=1, section_chunks=most)
            (best,) = search(shelf.kit, ADMIN, "shelf", question, 1, plan=plan).hits
            assert best.text == text[best.start : best.end]
            assert [n for n in "01234567" if f"Paragraph {n} " in best.text] == list(shown)

    def test_sections_do_not_share_chunks(self, shelf: Shelf):
        shelf.add("book", "\n\n".join(f"Paragraph {n} of the chapter." for n in range(9)))
        plan = Plan(passage_chunks=1, section_chunks=4)
        hits = search(shelf.kit, ADMIN, "shelf", "paragraph 2 or 6", 9, plan=plan).hits
        spans = sorted((hit.start, hit.end) for hit in hits)
        assert all(one[1] <= other[0] for one, other in pairwise(spans))

    def test_feedback_turns_the_question_towards_what_was_found(self, shelf: Shelf):
        shelf.add("tides", "The tide turns twice a day under the moon.")
        shelf.add("moon", "The moon pulls the sea twice a day.")
        shelf.add("bread", "Bread needs flour and salt.")
        plain, turned = (
            {
                hit.document: hit.legs.dense
                for hit in search(shelf.kit, ADMIN, "shelf", "tide", 3, plan=Plan(feedback=much)).hits
            }
            for much in (0.0, 1.0)
        )
        assert turned["moon"] > plain["moon"]
        assert turned["tides"] > turned["moon"]

    def test_what_the_asker_may_not_see_turns_no_question(self, shelf: Shelf):
        shelf.add("tides", "The tide turns twice a day.")
        before, after = [], []
        for found in (before, after):
            hits = search(shelf.kit, BOB, "shelf", "moon", 3, plan=Plan(feedback=1.0)).hits
            found += [(hit.document, hit.legs.dense) for hit in hits]
            shelf.add(f"moon {len(after)}", "The moon, the moon, the moon.", grants=["user:ann"])
        assert before == after != []

    def test_refuses_an_encoder_that_changed(self, shelf: Shelf, monkeypatch: pytest.MonkeyPatch):
        shelf.add("tides.txt", TIDES)
        monkeypatch.setattr(type(shelf.encoder), "fingerprint", "another")
        with pytest.raises(EmbedderUnavailable, match="has changed"):
            search(shelf.kit, ADMIN, "shelf", "tide", 5)


class TestPassages:
    NINE = "\n\n".join(f"Rule {n} of the tide." if n in {2, 3, 7} else f"Bread {n}." for n in range(9))

    def test_neighbours_that_were_found_are_one_passage(self, shelf: Shelf):
        shelf.add("rules", self.NINE)
        first, second = search(shelf.kit, ADMIN, "shelf", "rule of the tide", 2).hits
        texts = {self.NINE[hit.start : hit.end] for hit in (first, second)}
        assert {first.text, second.text} == texts
        assert any("Rule 2 of the tide.\n\nRule 3 of the tide." in text for text in texts)
        assert any("Rule 7" in text and "Rule 3" not in text for text in texts)

    def test_a_passage_has_no_more_chunks_than_the_plan_says(self, shelf: Shelf):
        shelf.add("rules", "\n\n".join(f"Rule {n} of the tide." for n in range(12)))
        for most in (1, 2, 5):
            plan = Plan(passage_chunks=most)
            hits = search(shelf.kit, ADMIN, "shelf", "rule of the tide", 12, plan=plan).hits
            counts = [hit.text.count("Rule") for hit in hits]
            assert max(counts) == most
            assert sum(counts) == 12

    def test_chunks_of_two_documents_or_versions_are_never_one(self, shelf: Shelf):
        ids = [shelf.add(f"rule {n}", f"Rule {n} of the tide.") for n in range(3)]
        shelf.replace(ids[0], "Rule 0 of the tide, revised.")
        hits = search(shelf.kit, ADMIN, "shelf", "rule of the tide", 5).hits
        assert sorted(hit.document_id for hit in hits) == sorted(ids)
        assert all(hit.text.count("Rule") == 1 for hit in hits)


class TestSqlCheck:
    def test_a_deleted_document_is_gone_while_its_points_are_still_there(self, shelf: Shelf):
        tides = shelf.add("tides.txt", TIDES)
        bread = shelf.add("bread.txt", BREAD)
        shelf.delete(tides)
        assert shelf.store.count(shelf.generation_id, document_id=tides) == 2
        hits = search(shelf.kit, ADMIN, "shelf", "tide", 5).hits
        assert {hit.document_id for hit in hits} == {bread}

    def test_drops_are_refilled_beyond_the_first_page(self, shelf: Shelf):
        crowd = shelf.add(
            "crowd", "\n\n".join(f"The tide table, row {n}." for n in range(BALANCED.candidates * 3))
        )
        few = {shelf.add(text, text) for text in ("The tide is told at the end.", "Another tide.", "Bread.")}
        shelf.delete(crowd)
        hits = search(shelf.kit, ADMIN, "shelf", "tide table row", 3).hits
        assert {hit.document_id for hit in hits} == few

    def test_exhaustion_ends_the_refill(self, shelf: Shelf):
        crowd = shelf.add(
            "crowd", "\n\n".join(f"The tide table, row {n}." for n in range(BALANCED.candidates))
        )
        shelf.add("few", "The tide is told at the end.")
        shelf.delete(crowd)
        assert len(search(shelf.kit, ADMIN, "shelf", "tide table", 10).hits) == 1

    def test_a_superseded_version_is_gone_at_once(self, shelf: Shelf):
        document_id = shelf.add("tides.txt", TIDES)
        live = shelf.replace(document_id, "The tide turns once.")
        hits = search(shelf.kit, ADMIN, "shelf", "tide", 5).hits
        assert [(hit.version_id, hit.version) for hit in hits] == [(live, 2)]

    def test_a_revoked_grant_counts_before_the_store_knows(self, shelf: Shelf):
        document_id = shelf.add("tides.txt", TIDES, grants=["user:ann"])
        assert search(shelf.kit, ANN, "shelf", "tide", 5).hits
        with shelf.db.begin() as session:
            session.delete(session.get_one(DocumentGrant, (document_id, "user:ann")))
        assert search(shelf.kit, ANN, "shelf", "tide", 5).hits == ()


class TestAccess:
    def test_a_restricted_document_is_seen_by_those_it_names(self, shelf: Shelf):
        document_id = shelf.add("tides.txt", TIDES, grants=["user:ann"])
        assert {hit.document_id for hit in search(shelf.kit, ANN, "shelf", "tide", 5).hits} == {document_id}
        assert search(shelf.kit, BOB, "shelf", "tide", 5).hits == ()
        assert search(shelf.kit, ADMIN, "shelf", "tide", 5).hits

    def test_a_restricted_collection_does_not_exist_for_others(self, shelf: Shelf):
        shelf.add("tides.txt", TIDES)
        with shelf.db.begin() as session:
            session.get_one(Collection, shelf.collection_id).restricted = True
            session.add(CollectionGrant(collection_id=shelf.collection_id, principal="user:ann"))
        assert search(shelf.kit, ANN, "shelf", "tide", 5).hits
        with pytest.raises(CollectionNotFound):
            search(shelf.kit, BOB, "shelf", "tide", 5)

    def test_a_key_sees_only_its_collections(self, shelf: Shelf):
        with pytest.raises(CollectionNotFound):
            search(shelf.kit, replace(ADMIN, collections=frozenset({"col_other"})), "shelf", "tide", 5)


class TestAsOf:
    def test_shows_what_was_live_then(self, shelf: Shelf):
        document_id = shelf.add("tides.txt", TIDES)
        shelf.replace(document_id, "The tide turns once.", live_from=now() + timedelta(seconds=1))
        then = replace(ADMIN, as_of=now() + timedelta(milliseconds=500))
        assert {hit.version for hit in search(shelf.kit, then, "shelf", "tide", 5).hits} == {1}
        later = replace(ADMIN, as_of=now() + timedelta(seconds=2))
        assert {hit.version for hit in search(shelf.kit, later, "shelf", "tide", 5).hits} == {2}

    def test_never_shows_a_deleted_document(self, shelf: Shelf):
        document_id = shelf.add("tides.txt", TIDES)
        then = replace(ADMIN, as_of=now())
        shelf.delete(document_id)
        assert search(shelf.kit, then, "shelf", "tide", 5).hits == ()

    def test_older_than_the_retention_is_refused(self, shelf: Shelf):
        with pytest.raises(AsOfTooOld) as refused:
            search(shelf.kit, replace(ADMIN, as_of=ago(days=31)), "shelf", "tide", 5)
        assert refused.value.code == "as_of_too_old"


class TestGenerations:
    def test_hits_are_of_the_active_one(self, shelf: Shelf):
        shelf.add("tides.txt", TIDES)
        former = shelf.generation_id
        target = shelf.switch()
        found = search(shelf.kit, ADMIN, "shelf", "tide", 5)
        assert former != target == found.generation_id
        assert {hit.generation_id for hit in found.hits} == {target}

    def test_a_switch_during_the_search_never_mixes(self, shelf: Shelf, monkeypatch: pytest.MonkeyPatch):
        shelf.add("tides.txt", TIDES)
        former = shelf.generation_id
        ask = shelf.store.candidates

        def switch_then_ask(generation, query):
            monkeypatch.setattr(shelf.store, "candidates", ask)
            shelf.switch()
            return ask(generation, query)

        monkeypatch.setattr(shelf.store, "candidates", switch_then_ask)
        found = search(shelf.kit, ADMIN, "shelf", "tide", 5)
        assert found.generation_id == former
        assert {hit.generation_id for hit in found.hits} == {former}

    def test_one_that_is_dropped_during_the_search_is_resolved_again(
        self, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
    ):
        shelf.add("tides.txt", TIDES)
        former = shelf.generation_id
        ask = shelf.store.candidates

        def drop_then_ask(generation, query):
            monkeypatch.setattr(shelf.store, "candidates", ask)
            shelf.switch()
            shelf.store.drop(former)
            return ask(generation, query)

        monkeypatch.setattr(shelf.store, "candidates", drop_then_ask)
        found = search(shelf.kit, ADMIN, "shelf", "tide", 5)
        assert found.generation_id != former
        assert {hit.generation_id for hit in found.hits} == {found.generation_id}


class TestQuestion:
    @pytest.mark.parametrize("text", ["", "   \n\t", "\x00\x00", "\x07"])
    def test_empty(self, shelf: Shelf, text: str):
        with pytest.raises(QuestionEmpty) as refused:
            search(shelf.kit, ADMIN, "shelf", text, 5)
        assert refused.value.code == "question_empty"

    def test_too_long(self, shelf: Shelf):
        with pytest.raises(QuestionTooLong, match="100,000 characters") as refused:
            search(shelf.kit, ADMIN, "shelf", "x" * 100_000, 5)
        assert refused.value.code == "question_too_long"

    def test_lone_surrogates_and_controls_are_replaced(self):
        assert cleaned("a\x00b \ud83d c \ud83d\ude00\x1f", 100) == "a b \ufffd c 😀"

    @pytest.mark.parametrize("limit", [0, -1, 51])
    def test_limit_out_of_range(self, shelf: Shelf, limit: int):
        with pytest.raises(LimitOutOfRange) as refused:
            search(shelf.kit, ADMIN, "shelf", "tide", limit)
        assert refused.value.code == "limit_out_of_range"
