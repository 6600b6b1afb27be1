"""Canonical text to chunks: along headings, paragraphs and sentences, within a budget of tokens.

Sentences (rows of a table, lines of code) are the units. A *run* is what may share a chunk: units under one heading,
on one page, with nothing left out between them. Borders fall anew at each run, and in it where the words say so, so
that an edit moves the chunks around it and not those of the rest of the document.
"""

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby
from typing import Final

from ibid import sentences
from ibid.types import Chunk, ChunkerConfig, Element, ElementKind, Parsed
from ingest import headings
from ingest.headings import HEADINGS, LEFT_OUT, LINE, Columns, CountTokens

_BY_LINE: Final = frozenset({ElementKind.TABLE, ElementKind.CODE})
_WORD: Final = re.compile(r"\S{1,100}")


@dataclass(frozen=True, slots=True)
class _Unit:
    """A sentence, row or line; `element` is an index."""

    start: int
    end: int
    element: int
    tokens: int = 0


@dataclass(slots=True)
class _Run:
    """Units that may share a chunk, and the page of their text.

    `apart` says that they cannot share one with those before them.
    """

    units: list[_Unit]
    path: tuple[str, ...]
    page: int | None
    apart: bool
    only_headings: bool

    @property
    def tokens(self) -> int:
        return sum(unit.tokens for unit in self.units)


def chunk(parsed: Parsed, config: ChunkerConfig, count_tokens: CountTokens) -> tuple[Chunk, ...]:
    """The chunks of a document in order; page headers, footers and hidden text are in none, all else is in at least one.

    The rows of a table have the row that names its columns as their last heading, if it is not among them.
    `count_tokens` is called at most four times. A chunk passes `max_tokens` only where it is a single word that does.
    """
    units = _counted(parsed, config, count_tokens)
    columns = headings.columns(parsed, config, count_tokens)
    above = headings.above(parsed, config, count_tokens)
    runs = _merged(list(_runs(units, parsed.elements)), config)
    packing = _with_room(config)
    ranges = [
        part
        for run in runs
        for part in _overlapping(
            _packed(run, parsed, _beside(run, columns, packing), packing.max_tokens),
            _beside(run, columns, config),
        )
    ]
    return tuple(_chunk(ordinal, part, parsed, above, columns) for ordinal, part in enumerate(ranges))


def _chunk(
    ordinal: int,
    units: Sequence[_Unit],
    parsed: Parsed,
    above: Sequence[tuple[str, ...]],
    columns: Mapping[int, Columns],
) -> Chunk:
    start, end = units[0].start, units[-1].end
    named = columns.get(units[0].element)
    body = next((unit for unit in units if parsed.elements[unit.element].kind not in HEADINGS), units[0])
    return Chunk(
        ordinal=ordinal,
        start=start,
        end=end,
        text=parsed.text[start:end],
        page=parsed.elements[units[0].element].page,
        heading_path=(
            *above[body.element],
            # The names of the columns stand in the table's first rows; rows further on have them as a heading.
            *((named.text,) if named is not None and start >= named.end else ()),
        ),
        tokens=sum(unit.tokens for unit in units),
    )


def _beside(run: _Run, columns: Mapping[int, Columns], config: ChunkerConfig) -> ChunkerConfig:
    """The budget that the names of a table's columns leave to its rows."""
    taken = max(
        (columns[index].tokens for index in {u.element for u in run.units} & columns.keys()), default=0
    )
    return replace(config, max_tokens=max(1, config.max_tokens - taken)) if taken else config


def _counted(parsed: Parsed, config: ChunkerConfig, count_tokens: CountTokens) -> list[_Unit]:
    """The units of the document with their tokens, those over the budget cut at white space."""
    spans = list(_spans(parsed))
    counts = _count(parsed.text, spans, count_tokens)
    long = {index for index, count in enumerate(counts) if count > config.max_tokens}
    words = [
        (*word.span(), spans[at][2])
        for at in sorted(long)
        for word in _WORD.finditer(parsed.text, *spans[at][:2])
    ]
    word_units = [
        _Unit(*word, tokens)
        for word, tokens in zip(words, _count(parsed.text, words, count_tokens), strict=True)
    ]
    units: list[_Unit] = []
    rest = iter(word_units)
    held = next(rest, None)
    for index, (span, count) in enumerate(zip(spans, counts, strict=True)):
        if index not in long:
            units.append(_Unit(*span, count))
            continue
        inside = []
        while held is not None and held.end <= span[1]:
            inside.append(held)
            held = next(rest, None)
        units.extend(_filled(inside, config.max_tokens))
    return units


def _count(text: str, spans: Sequence[tuple[int, int, int]], count_tokens: CountTokens) -> list[int]:
    return count_tokens([text[start:end] for start, end, _ in spans]) if spans else []


def _spans(parsed: Parsed) -> Iterator[tuple[int, int, int]]:
    """Start, end and element of each unit."""
    for index, element in enumerate(parsed.elements):
        if element.kind in LEFT_OUT:
            continue
        if element.kind in _BY_LINE:
            found: Iterable[tuple[int, int]] = (
                (line.start(), line.start() + len(line.group().rstrip()))
                for line in LINE.finditer(parsed.text, element.start, element.end)
            )
        else:
            found = sentences.spans(parsed.text, element.start, element.end)
        for start, end in found:
            yield start, end, index


def _filled(words: Iterable[_Unit], budget: int) -> Iterator[_Unit]:
    """Words put together to units within the budget."""
    held: list[_Unit] = []
    for part in _greedy(words, budget):
        held = part
        yield _Unit(held[0].start, held[-1].end, held[0].element, sum(word.tokens for word in held))


def _greedy(units: Iterable[_Unit], budget: int) -> Iterator[list[_Unit]]:
    """Units in order, as many at a time as the budget allows and at least one."""
    held: list[_Unit] = []
    tokens = 0
    for unit in units:
        if held and tokens + unit.tokens > budget:
            yield held
            held, tokens = [], 0
        held.append(unit)
        tokens += unit.tokens
    if held:
        yield held


def _runs(units: Iterable[_Unit], elements: Sequence[Element]) -> Iterator[_Run]:
    """Units parted at headings, tables, pages, and where something was left out."""
    run: _Run | None = None
    for index, group in groupby(units, key=lambda unit: unit.element):
        element = elements[index]
        heading = element.kind in HEADINGS
        if run is not None:
            before = run.units[-1].element
            apart = index != before + 1 or (elements[before].page != element.page and not run.only_headings)
            if not apart and (run.only_headings or not _begins_anew(elements[before], element)):
                run.units.extend(group)
                if run.only_headings and not heading:
                    run.path, run.page, run.only_headings = element.heading_path, element.page, False
                continue
            yield run
            run = _Run(list(group), element.heading_path, element.page, apart, heading)
        else:
            run = _Run(list(group), element.heading_path, element.page, apart=True, only_headings=heading)
    if run is not None:
        yield run


def _begins_anew(before: Element, element: Element) -> bool:
    table = ElementKind.TABLE in {before.kind, element.kind} and before.kind is not element.kind
    return element.kind in HEADINGS or table


def _merged(runs: Sequence[_Run], config: ChunkerConfig) -> list[_Run]:
    """Runs, the small ones put together with the next, or with the one before under the same heading."""
    merged: list[_Run] = []
    for index, run in enumerate(runs):
        last = merged[-1] if merged else None
        stranded = run.only_headings and (index + 1 == len(runs) or runs[index + 1].apart)
        if last is not None and not run.apart and _join(last, run, config, stranded=stranded):
            last.units.extend(run.units)
            last.only_headings = last.only_headings and run.only_headings
        else:
            merged.append(run)
    return merged


def _join(last: _Run, run: _Run, config: ChunkerConfig, *, stranded: bool) -> bool:
    """Whether a run is better off in the chunk of the one before it."""
    tokens = last.tokens
    if tokens + run.tokens > config.max_tokens or (run.page != last.page and not stranded):
        return False
    if stranded or last.path == run.path:
        return stranded or min(tokens, run.tokens) < config.min_tokens
    return tokens < config.min_tokens and last.path[:-1] == run.path[: max(len(last.path) - 1, 0)]


def _packed(run: _Run, parsed: Parsed, config: ChunkerConfig, whole: int) -> list[list[_Unit]]:
    """The run in chunks: all of it if it has no more than `whole` tokens, else paragraphs that fit, else sentences."""
    if run.tokens <= whole:
        return [run.units]
    parts: list[list[_Unit]] = []
    first = 0
    while first < len(run.units):
        end = _border(run.units, first, parsed, config)
        parts.append(run.units[first:end])
        first = end
    return _balanced(parts, config)


def _border(units: Sequence[_Unit], first: int, parsed: Parsed, config: ChunkerConfig) -> int:
    """Where the chunk that begins with unit `first` ends.

    Of the paragraphs and rows before which it is a quarter full or fuller, the one whose words hash lowest: so what
    follows an edit soon has its former borders again, wherever a chunk began.
    """
    tokens = units[first].tokens
    borders: list[int] = []
    for at in range(first + 1, len(units)):
        if 4 * tokens >= config.max_tokens and _may_begin(units[at - 1], units[at], parsed):
            borders.append(at)
        if tokens + units[at].tokens > config.max_tokens:
            return min(borders, key=lambda border: _hash(parsed.text, units[border]), default=at)
        tokens += units[at].tokens
    return len(units)


def _may_begin(before: _Unit, unit: _Unit, parsed: Parsed) -> bool:
    return before.element != unit.element or parsed.elements[unit.element].kind in _BY_LINE


def _hash(text: str, unit: _Unit) -> int:
    return zlib.crc32(text[unit.start : min(unit.end, unit.start + 64)].encode())


def _balanced(parts: list[list[_Unit]], config: ChunkerConfig) -> list[list[_Unit]]:
    """A last part that is too small joined to the one before, or the two parted again in the middle."""
    if len(parts) == 1 or sum(unit.tokens for unit in parts[-1]) >= config.min_tokens:
        return parts
    units = parts[-2] + parts[-1]
    sums = list(accumulate((unit.tokens for unit in units), initial=0))
    if sums[-1] <= config.max_tokens:
        return [*parts[:-2], units]
    fitting = (
        cut for cut in range(1, len(units)) if max(sums[cut], sums[-1] - sums[cut]) <= config.max_tokens
    )
    cut = min(fitting, key=lambda at: abs(2 * sums[at] - sums[-1]), default=len(parts[-2]))
    return [*parts[:-2], units[:cut], units[cut:]]


def _with_room(config: ChunkerConfig) -> ChunkerConfig:
    """A quarter of the budget is kept for repeated sentences, if any are."""
    return replace(config, max_tokens=config.max_tokens * 3 // 4 or 1) if config.overlap_sentences else config


def _overlapping(parts: Sequence[list[_Unit]], config: ChunkerConfig) -> Iterator[list[_Unit]]:
    """The parts of a run, each with the last sentences of the one before as far as the budget allows."""
    before: list[_Unit] = []
    for part in parts:
        repeated: list[_Unit] = []
        tokens = sum(unit.tokens for unit in part)
        # Never all of it: the chunk would hold the one before.
        for unit in reversed(before[max(1, len(before) - config.overlap_sentences) :]):
            tokens += unit.tokens
            if tokens > config.max_tokens:
                break
            repeated.insert(0, unit)
        yield repeated + part
        before = part
