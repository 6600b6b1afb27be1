"""What requests and responses of several resources share."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import AfterValidator, BaseModel, ConfigDict

T = TypeVar("T")
LARGEST_PAGE = 200


class Request(BaseModel):
    """A request's body: an unknown member is a mistake, and is said to be one."""

    model_config = ConfigDict(extra="forbid")


class Response(BaseModel):
    """A response's body, read off a row or a value."""

    model_config = ConfigDict(from_attributes=True)


class Page(Response, Generic[T]):
    """A part of a list: `next` is the `after` of the following part, null at the end."""

    data: list[T]
    next: str | None


def _storable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("it holds a null character")
    return text


Text = Annotated[str, AfterValidator(_storable)]
After = Annotated[str | None, Query(description="`next` of the part before", max_length=64)]
Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE)]


def page(rows: Sequence[Any], limit: int, show: Callable[[Any], T], id_of: Callable[[Any], str]) -> Page[T]:
    """The first `limit` of the rows; one more than that was asked for, to know whether there are more."""
    shown = rows[:limit]
    following = id_of(shown[-1]) if len(rows) > limit else None
    return Page(data=[show(row) for row in shown], next=following)
