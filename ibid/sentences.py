"""Sentences as spans of a text, by rules, in linear time.

Ours rather than a library's because citations need exact spans, a bound on their length and a say about line ends:
pysbd (last released in 2021) is slow and its spans drift on repeated text; sentencex is fast and gives code points,
but keeps a list item of several sentences whole.

Abbreviations of the larger European languages stand side by side: a text may hold several, and hardly one of them
means something else in another.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

MAX_CHARS: Final = 1_000
"""A run without a stop is cut at white space before this many characters."""

Span = tuple[int, int]

_MAX_SHORT: Final = 60
_SHORT_SHARE: Final = 0.6

_BULLET: Final = re.compile(
    r"[ \t]*(?:[-*+•‣⁃▪▫◦–—·●○■□►➢✓]\s|\(?(?:\d{1,3}|[A-Za-z]|[ivx]{1,5})[.)]\s|#{1,6}\s|>\s)"
)
_HEADING_MARK: Final = re.compile(r"[ \t]*#{1,6}\s")
_OPEN_END: Final = re.compile(r"[.!?:;,…。！？]\W*$")
_STOP: Final = re.compile(r"[.!?…。！？｡]+[\"'”’»›」』)\]}】）*_]*(?:\[\d{1,3}\])*(\s*)")
_WIDE_STOPS: Final = "。！？｡"
_OPENERS: Final = "\"'“‘«‹「『([{【（*_"
_TOKEN: Final = re.compile(r"[^\s(\[{\"'“‘«/—–]{1,20}$")
_MARKER: Final = re.compile(r"[ \t(]*(?:\d{1,3}|[A-Za-z]|[ivx]{1,5})\.\s*$")
_DOTTED: Final = re.compile(r"(?:[^\W\d_]\.)+$")
_WORD: Final = re.compile(r"\w+")


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


# Followed by a name or a number, never the end of a sentence.
_TITLES: Final = _words(
    "dr mr mrs ms mx prof st ste rev hon gen col maj capt cmdr lt sgt cpl pvt adm gov pres sen rep messrs mme mlle "
    "fr br sr vs viz cf eg ie e.g i.e approx ca resp esp incl excl "
    # German
    "hrn frl dipl ing bzw vgl z.b d.h u.a u.ä i.d.r z.t u.u o.ä inkl exkl zzgl sog bspw ggf evtl "
    # French, Spanish, Portuguese, Italian, Dutch
    "p.ex env mgr sra srta dra ud uds dña exmo exma dott sig avv dhr mevr bijv d.w.z m.b.t"
)
# Abbreviations only before a number: "No. 5", but "He said no. Then he left."
_NUMBERED: Final = _words(
    "no nos fig figs eq eqs sec secs ch chs chap art arts vol vols p pp para paras pt ref refs tab app ed col ln "
    "jan feb mar apr jun jul aug sep sept oct nov dec "
    "nr nrn abs kap abb anm bd ziff rn rdnr aufl pág págs núm núms pag pagg cap blz hfst"
)
# What a number with a dot may count, where that is how ordinal numbers are written: "am 3. Oktober".
_COUNTED: Final = _words(
    "januar jänner februar märz april mai juni juli august september oktober november dezember "
    "jahrhundert jahrhunderts quartal halbjahr auflage kapitel absatz satz klasse stock tag tages monat weltkrieg"
)
# These may end a sentence; they do when what follows opens one.
_EITHER: Final = _words(
    "inc ltd co corp llc bros dept univ assn ave blvd rd mt ft est al etc jr sr ph.d m.d b.a m.a b.sc m.sc d.c "
    "a.m p.m u.s u.k u.n e.u a.d b.c usw u.s.w mio mrd str enz ecc ee.uu"
)
_STARTERS: Final = _words(
    "a after all although an and any are as at because before both but by can could did do does during each either "
    "every for from has have he her here his how however i if in is it its let many may moreover most must my "
    "neither no not now of on once one only or our please she should since so some such than that the their then "
    "there therefore these they this those though through to under until upon was we were what when where which "
    "while who whose why will with within without would yes yet you your "
    "der die das ein eine er sie es wir ich bei wenn nach diese dieser dieses alle für mit auf jede jeder "
    "les une il elle ils elles nous vous cette ces dans pour "
    "los las una este esta estos estas para het een"
)


def spans(text: str, start: int = 0, end: int | None = None) -> list[Span]:
    """Half-open code-point spans of the sentences in `text[start:end]`, in order.

    Each is an exact slice without white space at its ends; together they hold every character that is not space.
    """
    stop = len(text) if end is None else min(end, len(text))
    found: list[Span] = []
    for block_start, block_end in _blocks(text, start, stop):
        begin = block_start
        for cut in (*_stops(text, block_start, block_end), block_end):
            found.extend(_pieces(text, begin, cut))
            begin = cut
    return found


def _blocks(text: str, start: int, stop: int) -> Iterator[Span]:
    """Runs of lines that no blank line, list item, table row or heading divides."""
    for paragraph in _paragraphs(text, start, stop):
        widest = max(end - begin for begin, end in paragraph)
        begin = paragraph[0][0]
        for line, following in pairwise(paragraph):
            if _divided(text, line, following, widest):
                yield begin, following[0]
                begin = following[0]
        yield begin, paragraph[-1][1]


def _paragraphs(text: str, start: int, stop: int) -> Iterator[list[Span]]:
    """Lines between blank lines."""
    lines: list[Span] = []
    position = start
    while position < stop:
        newline = text.find("\n", position, stop)
        line_end = stop if newline < 0 else newline + 1
        if text[position:line_end].isspace():
            if lines:
                yield lines
            lines = []
        else:
            lines.append((position, line_end))
        position = line_end
    if lines:
        yield lines


def _divided(text: str, line: Span, following: Span, widest: int) -> bool:
    """Whether the line end between two lines of a paragraph ends a sentence whatever the words say."""
    if _BULLET.match(text, *following) or _HEADING_MARK.match(text, *line):
        return True
    words, following_words = text[slice(*line)], text[slice(*following)]
    if " | " in words or " | " in following_words:
        return True
    # A short line without a stop before a capital is a heading or an entry, unless the whole paragraph is set narrow.
    short = len(words) <= _MAX_SHORT and len(words) < _SHORT_SHARE * widest
    return short and not _OPEN_END.search(words[-8:]) and following_words.lstrip()[:1].isupper()


def _stops(text: str, start: int, stop: int) -> Iterator[int]:
    """Offsets after a stop, its closing marks and the white space behind it."""
    for match in _STOP.finditer(text, start, stop):
        if match.end() >= stop:
            return
        mark = text[match.start()]
        if mark in _WIDE_STOPS or (match.group(1) and _ends(text, match, start)):
            yield match.end()


def _ends(text: str, match: re.Match[str], start: int) -> bool:
    """Whether a stop with white space behind it ends a sentence."""
    following = text[match.end() : match.end() + 24].lstrip(_OPENERS)
    if following[:1].islower():
        return False
    if text[match.start()] != "." or text[match.start() + 1] == ".":
        return True
    return not _abbreviates(text, match.start(), start, following)


def _abbreviates(text: str, dot: int, start: int, following: str) -> bool:
    """Whether the dot belongs to an abbreviation, an initial or the number of a list item."""
    before = text[max(start, dot - 24) : dot]
    token = _TOKEN.search(before)
    if token is None:
        return False
    word = token.group().casefold()
    if word in _TITLES:
        return True
    if word in _NUMBERED:
        return following[:1].isdigit()
    opener = _WORD.match(following)
    first = opener.group().casefold() if opener else ""
    ordinal = word.isdecimal() and len(word) <= 2 and first in _COUNTED
    if ordinal or _is_marker(text, dot, start):
        return True
    initial = len(word) == 1 and word.isalpha() and token.group() != "I"
    if initial or word in _EITHER or _DOTTED.match(f"{word}."):
        return bool(first) and first not in _STARTERS
    return False


def _is_marker(text: str, dot: int, start: int) -> bool:
    """Whether the dot ends the number of a list item at the head of a line: "1. Apples"."""
    head = max(start, text.rfind("\n", max(start, dot - 12), dot) + 1, dot - 12)
    at_line_start = head == start or text[head - 1] == "\n"
    return at_line_start and _MARKER.fullmatch(text, head, dot + 1) is not None


def _pieces(text: str, start: int, stop: int) -> Iterator[Span]:
    """The range without white space at its ends, cut where it is too long."""
    while True:
        while start < stop and text[start].isspace():
            start += 1
        if stop - start <= MAX_CHARS:
            break
        cut = _last_space(text, start, start + MAX_CHARS)
        yield from _trimmed(text, start, cut)
        start = cut
    yield from _trimmed(text, start, stop)


def _last_space(text: str, start: int, stop: int) -> int:
    """The offset of the last white space in the range, its end if there is none."""
    for position in range(stop, start, -1):
        if text[position].isspace():
            return position
    return stop


def _trimmed(text: str, start: int, stop: int) -> Iterator[Span]:
    while stop > start and text[stop - 1].isspace():
        stop -= 1
    if start < stop:
        yield start, stop
