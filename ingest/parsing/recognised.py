"""What was recognised in the picture of a page, and its form on the way between processes and in SQL.

It comes out of a process that worked on a file that may be hostile, so it is checked like any input.
"""

from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field, TypeAdapter, ValidationError

from ibid.layout import UNITS
from ingest.canonical import clean
from ingest.parsing.errors import ParserDied

Edge = Annotated[int, Field(ge=0, le=UNITS)]
Confidence = Annotated[float, Field(ge=0.0, le=1.0)]


@dataclass(frozen=True, slots=True)
class RecognisedLine:
    """Words side by side; edges in units of the upright page (`ibid.layout.UNITS` to its width and height)."""

    text: str
    confidence: Confidence
    x0: Edge
    y0: Edge
    x1: Edge
    y1: Edge


@dataclass(frozen=True, slots=True)
class RecognisedPage:
    """The lines of a page (from 1), or the reason why there are none.

    The page as displayed is turned by `turned` quarters counter-clockwise to make it upright.
    """

    number: Annotated[int, Field(ge=1)]
    lines: tuple[RecognisedLine, ...] = ()
    turned: Annotated[int, Field(ge=0, le=3)] = 0
    failure: str = ""

    @property
    def confidence(self) -> float:
        """The mean over its characters; 1 for a page without any."""
        letters = sum(len(line.text) for line in self.lines)
        return sum(line.confidence * len(line.text) for line in self.lines) / letters if letters else 1.0


_PAGE: Final = TypeAdapter(RecognisedPage)


def dump(page: RecognisedPage) -> bytes:
    """The page as JSON."""
    return _PAGE.dump_json(page)


def load(data: bytes | str) -> RecognisedPage:
    """What `dump` was given, checked; raises `ParserDied` for anything else."""
    try:
        page = _PAGE.validate_json(data)
    except ValidationError as error:
        raise ParserDied("Reading a page went wrong: the answer makes no sense. Try it again.") from error
    if any(not line.text.strip() or clean(line.text) != line.text for line in page.lines):
        raise ParserDied("Reading a page went wrong: its text is none that can be kept. Try it again.")
    return page
