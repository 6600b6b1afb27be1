"""The log: one line an event, as text or JSON, under the request and the job it belongs to, without document text.

Messages name things by id. Of an exception only its type, its code and the places it passed are written: what it says
may quote a document, a question or a row.
"""

import errno
import json
import logging
import os
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, Protocol

from ibid.errors import IbidError

Kind = Literal["text", "json"]
# What a line may carry beside its message, in this order: who asked, what is worked on, and how a request ended.
CONTEXT = ("request_id", "job_id", "attempt")
ACCESS = ("method", "route", "status", "ms")
LIBRARIES = ("alembic", "httpcore", "httpx", "httpx2", "sentence_transformers")


class Held(Protocol):
    """A job that is worked on: a claim."""

    @property
    def id(self) -> str:
        """The job's id."""

    @property
    def attempt(self) -> int:
        """The attempt's number."""

    @property
    def request_id(self) -> str | None:
        """The request that queued it."""


@dataclass(frozen=True, slots=True)
class _Context:
    """What lines are written about: a request, and one job or the jobs of a batch."""

    request_id: str | None = None
    job_id: str | None = None
    attempt: str | None = None


_NOTHING = _Context()
_context: ContextVar[_Context] = ContextVar("ibid_log_context", default=_NOTHING)


@contextmanager
def on_request(request_id: str) -> Iterator[None]:
    """Lines of the block belong to this request."""
    token = _context.set(_Context(request_id=request_id))
    try:
        yield
    finally:
        _context.reset(token)


@contextmanager
def on_jobs(held: Sequence[Held]) -> Iterator[None]:
    """Lines of the block belong to these jobs, and to the requests that queued them."""
    requests = dict.fromkeys(each.request_id for each in held if each.request_id)
    context = _Context(
        request_id=",".join(requests) or None,
        job_id=",".join(each.id for each in held),
        attempt=",".join(str(each.attempt) for each in held),
    )
    token = _context.set(context)
    try:
        yield
    finally:
        _context.reset(token)


def current_request() -> str | None:
    """The one request on whose behalf something is done now, if there is one."""
    found = _context.get().request_id
    return None if found is None or "," in found else found


def configure(level: str, kind: Kind, *, only: str = "") -> None:
    """Write lines to standard error, in this format; those of all loggers, or `only` of those below one."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if kind == "json" else TextLines())
    handler.addFilter(_add_context)
    handler.addFilter(logging.Filter(only))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    for talkative in LIBRARIES:
        logging.getLogger(talkative).setLevel(logging.WARNING)


class TextLines(logging.Formatter):
    """For people: time, level, logger and message, then what the line belongs to."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, with its context at the end, and below it what was raised."""
        line = f"{self.formatTime(record)} {record.levelname} {record.name}: {record.getMessage()}"
        if told := " ".join(f"{name}={value}" for name, value in _members(record, CONTEXT)):
            line += f" [{told}]"
        if record.exc_info and record.exc_info[1] is not None:
            line += "\n" + describe(record.exc_info[1])
        return line


class JsonLines(logging.Formatter):
    """For programs: one JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        told: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        told.update(_members(record, (*CONTEXT, *ACCESS)))
        if record.exc_info and record.exc_info[1] is not None:
            told["exception"] = describe(record.exc_info[1])
        return json.dumps(told, default=str)


def describe(error: BaseException | None) -> str:
    """An exception as its types, codes and places, those that caused it first."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n".join(line for each in reversed(chain) for line in _lines(each))


def _lines(error: BaseException) -> Iterator[str]:
    for frame in traceback.extract_tb(error.__traceback__):
        yield f"  {frame.filename}:{frame.lineno} in {frame.name}"
    code = error.code if isinstance(error, IbidError) else ""
    if isinstance(error, OSError) and error.errno is not None:
        code = f"{errno.errorcode.get(error.errno, '')} {os.strerror(error.errno)}"
    yield f"{type(error).__module__}.{type(error).__qualname__}" + (f": {code}" if code else "")


def _add_context(record: logging.LogRecord) -> bool:
    context = _context.get()
    for name in CONTEXT:
        if not hasattr(record, name):
            setattr(record, name, getattr(context, name))
    return True


def _members(record: logging.LogRecord, names: Sequence[str]) -> list[tuple[str, object]]:
    found = ((name, getattr(record, name, None)) for name in names)
    return [(name, value) for name, value in found if value is not None]
