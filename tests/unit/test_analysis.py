import pytest

from retrieval.analysis import Analysis, analysed, quoted, shared
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
        ('What does "annual leave?" mean, and "leave," then?', ("annual leave", "leave")),
        ('"Tide" or "tide" or "TIDE"', ("TIDE",)),
        ("请问“年假”是什么", ("年假",)),
        ('規程の"有給休暇"とは', ("有給休暇",)),
        ('"연차 휴가"는 며칠인가요', ("연차 휴가",)),
        ("Was heißt »Flut«?", ("Flut",)),
        ('Does “don’t "never" stop” stand there?', ('don\'t "never" stop',)),
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
        ("v2 and v2.5 notes of Straße12", ("strasse12", "v2", "v2.5")),
    ],
)
def test_identifiers(question: str, identifiers: tuple[str, ...]):
    assert analysed(question).identifiers == identifiers


def test_numbers_are_not_looked_for_within_identifiers():
    assert analysed("v2 and v2.5 notes of Straße12 for 30").numbers == (Numeral("30", ""),)


@pytest.mark.parametrize("month", ["aprıl 2024", "APRİL 2024", "3 aprıl"])
def test_a_month_with_a_letter_that_it_does_not_have_is_none(month: str):
    assert analysed(f"the tide in {month}").dates == ()


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
def test_what_a_reader_sees_as_the_same_words_is_quoted(text: str, there: bool):
    assert quoted(Analysis(("the tide turns",)), [text]) is there
    assert quoted(Analysis(("the tide turns", "twice")), [text]) is (there and "twice" in text)


def test_each_phrase_stands_in_one_place():
    asked = Analysis(("leave handbook", "annual leave"))
    assert quoted(asked, ["The leave handbook", "On annual leave"])
    assert not quoted(asked, ["annual leave", "handbook"])


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
