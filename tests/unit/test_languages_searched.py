"""Questions in several languages to one collection that holds documents in all of them: words are found in every form."""

from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import select, update

from ibid import generations, integrity
from ibid.bootstrap import Parts
from ibid.chat.registry import ChatModels
from ibid.db.tables import ChunkRow, Generation
from ibid.types import Parsed, Scope, SparseConfig
from ingest.parsing.languages import with_languages
from retrieval.kit import Kit
from retrieval.search import search
from tests.unit.shop import PlainReader, Shop

# A passage, and a question that has none of its words in the same form.
TEXTS: Final = {
    "en": (
        ("Members borrow up to twelve books at once and renew them twice in the reading room.", "book renewed borrowing"),
        ("Lost cards are replaced by the front desk for a small charge within three days.", "replacing card charges"),
        ("Children under twelve visit the museum together with their parents on Sundays.", "child parent visiting"),
    ),
    "de": (
        ("Die Gebühren für Übernachtungsgäste ändern sich jährlich und stehen am Kassenhäuschen.", "Gebühr jährlicher Änderungen"),
        ("Größere Schiffe müssen sich zwölf Stunden vor der Ankunft beim Hafenmeister anmelden.", "großes Schiff anmeldet"),
        ("Die Bibliotheken schließen an Feiertagen und öffnen wieder am nächsten Werktag.", "Bibliothek Feiertag schließt geöffnet"),
    ),
    "fr": (
        ("Les navires étrangers présentent leurs papiers au gardien du port dès leur arrivée.", "navire étranger présenter papier"),
        ("Les abonnements mensuels se renouvellent automatiquement à la fin de chaque période.", "abonnement mensuel renouveler"),
        ("Les chambres réservées sont gardées jusqu'à dix-huit heures par la réception.", "chambre réserver garder"),
    ),
    "es": (
        ("Los barcos pesqueros descargan sus capturas en los muelles nuevos cada mañana.", "barco pesquero descargar captura"),
        ("Las habitaciones reservadas se guardan hasta las seis de la tarde en la recepción.", "habitación reservada guardar"),
        ("Los trabajadores solicitan sus vacaciones con dos meses de antelación por escrito.", "trabajador solicitar vacación"),
    ),
}  # fmt: skip


class TellingReader(PlainReader):
    """Says in which languages a text is, as the parse server does."""

    def parse(self, path: Path, filename: str, media_type: str) -> Parsed:
        return with_languages(super().parse(path, filename, media_type))


@pytest.fixture
def shop(parts: Parts, admin: Scope) -> Shop:
    made = Shop(parts, admin)
    made.reader = TellingReader()
    made.tools = replace(made.tools, reader=made.reader)
    return made


def stem_english_only(shop: Shop) -> None:
    sparse = {"language": "english", "k": 1.2, "b": 0.75, "avg_len": 128.0}
    with shop.parts.db.begin() as session:
        session.execute(update(Generation).values(sparse=sparse))


def fill(shop: Shop) -> None:
    for code, pairs in TEXTS.items():
        for number, (passage, _) in enumerate(pairs):
            shop.upload(passage, name=f"{code}{number}.txt")
    shop.work()


def found(shop: Shop, code: str) -> list[bool]:
    """For each question whether the word search has its passage first."""
    parts = shop.parts
    models = ChatModels(lambda: parts.encoders.get("hashing"), parts.settings)
    kit = Kit(parts.db, parts.store, parts.encoders, models, parts.settings)
    firsts = []
    for passage, question in TEXTS[code]:
        hits = search(kit, shop.scope, "facts", question, 12).hits
        by_words = sorted(hits, key=lambda hit: -(hit.legs.sparse or 0.0))
        firsts.append(bool(by_words[0].legs.sparse) and by_words[0].text == passage)
    return firsts


@pytest.mark.parametrize("code", TEXTS)
def test_a_question_finds_its_passage_by_words_in_other_forms(shop: Shop, code: str) -> None:
    fill(shop)
    assert found(shop, code) == [True] * len(TEXTS[code])


def test_with_english_stems_for_all_german_ones_are_missed(shop: Shop) -> None:
    """What the stemmers are for. French and Spanish plurals look like English ones, German forms do not."""
    stem_english_only(shop)
    fill(shop)
    assert found(shop, "en") == [True] * 3
    assert sum(found(shop, "de")) == 1


def test_chunks_and_generation_know_their_languages(shop: Shop) -> None:
    fill(shop)
    with shop.parts.db.read() as session:
        (generation_id,) = session.scalars(select(Generation.id))
        assert generations.languages(session, generation_id) == tuple(sorted(TEXTS))
        rows = session.scalars(select(ChunkRow)).all()
        assert {(row.text[:12], row.language) for row in rows} == {
            (passage[:12], code) for code, pairs in TEXTS.items() for passage, _ in pairs
        }


def test_a_document_in_two_languages_has_chunks_in_both(shop: Shop) -> None:
    with shop.parts.db.begin() as session:
        chunker = {"max_tokens": 20, "min_tokens": 1, "overlap_sentences": 0}
        session.execute(update(Generation).values(chunker=chunker))
    shop.upload("\n\n".join(passage for code in ("en", "de") for passage, _ in TEXTS[code]), name="both.txt")
    shop.work()
    with shop.parts.db.read() as session:
        told = {(row.text, row.language) for row in session.scalars(select(ChunkRow))}
    assert told == {(passage, code) for code in ("en", "de") for passage, _ in TEXTS[code]}


def test_a_generation_from_before_stems_as_it_did(shop: Shop) -> None:
    stem_english_only(shop)
    with shop.parts.db.read() as session:
        recipe = generations.recipe_of(session.scalars(select(Generation)).one())
    assert recipe.sparse == SparseConfig()
    assert shop.parts.recipe().sparse == SparseConfig(multilingual=True, named=True)


def test_points_made_anew_are_those_that_were_stored(shop: Shop) -> None:
    fill(shop)
    before = {
        id_: point.sparse
        for one in shop.parts.store._generations.values()
        for id_, point in one.points.items()
    }
    shop.parts.store._generations.clear()
    integrity.verify(shop.parts, shop.scope, shop.collection, repair=True)
    after = {
        id_: point.sparse
        for one in shop.parts.store._generations.values()
        for id_, point in one.points.items()
    }
    assert after == before
