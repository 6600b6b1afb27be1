import pytest

from retrieval.analysis import Analysis, analysed, holds, shared
from retrieval.facts import Date, Numeral


@pytest.mark.parametrize(
    ("question", "phrases"),
    [
        ('Who said "the tide turns"?', ("the tide turns",)),
        ("Was heißt „Flut und Ebbe“ hier?", ("Flut und Ebbe",)),
        ("Où est « la marée » ?", ("la marée",)),
        ("Где «прилив»?", ("прилив",)),
        ('Compare "high tide" with "low tide".', ("high tide", "low tide")),
        ('Does a 19" rack fit a 21" one?', ()),
        ("What is at 8' 59.23\" latitude?", ()),
        ('An empty "" pair, a mark "?" and one " alone', ()),
        ("no quotation marks", ()),
    ],
)
def test_phrases(question: str, phrases: tuple[str, ...]):
    assert analysed(question).phrases == phrases


@pytest.mark.parametrize(
    ("question", "identifiers"),
    [
        ("Who approved INV-2024/007?", ("inv-2024/007",)),
        ("Is 10.0.0.1 the gateway of ISO27001 rooms?", ("10.0.0.1", "iso27001")),
        ("The 3rd of 20 rooms costs 3.5 or 1,000 in the 1990s", ()),
        ("Since 2024-05-01 room B-12", ("b-12",)),
        ("miR-142 and CX3CR1", ("cx3cr1", "mir-142")),
    ],
)
def test_identifiers(question: str, identifiers: tuple[str, ...]):
    assert analysed(question).identifiers == identifiers


def test_numbers_and_dates():
    found = analysed("Did A-17 cost $1,200 or 20 % more after 3 May 2024 and in June 2025?")
    assert found.identifiers == ("a-17",)
    assert found.numbers == (Numeral("1200", "$"), Numeral("20", "%"))
    assert set(found.dates) == {Date(2024, 5, 3), Date(2025, 6, None)}
    assert found.exact
    assert analysed("nothing of the kind") == Analysis()
    assert not Analysis(("only a phrase",)).exact


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("It says: The Tide\nTurns twice.", True),
        ("the tide, turns", False),
        ("Bathe tide turns", False),
        ("the tide turnstile", False),
    ],
)
def test_holds_what_a_reader_sees_as_the_same_words(text: str, there: bool):
    assert holds(("the tide turns",), text) is there
    assert holds(("the tide turns", "twice"), text) is (there and "twice" in text)


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("Room B-12 on 2024-05-03 for 30 euros", 1.0),
        ("Room b-12 on May 3, 2024 for 31 euros", 2 / 3),
        ("Room B-120 in May 2024 for 300", 0.0),
    ],
)
def test_share_of_what_was_said_exactly(text: str, share: float):
    assert shared(analysed("Was room B-12 let for 30 on 3 May 2024?"), text) == pytest.approx(share)


def test_nothing_exact_is_shared_with_nothing():
    assert shared(Analysis(), "Room 12") == 0.0
