"""Downloads from addresses that others chose: every connection and redirect checked, size and time bounded.

Nothing that is raised or logged here holds more of a URL than its host: the rest may be somebody's secret.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from email.message import Message
from http import HTTPStatus
from typing import BinaryIO, Final
from urllib.parse import unquote

import httpx

from ibid import links, media
from ibid.children import safe_name
from ibid.errors import Invalid, TooLarge, Unavailable
from ibid.media import BY_EXTENSION
from ibid.outbound import Deadline, fetch_client

MOST_REDIRECTS: Final = 5
SILENCE_SECONDS: Final = 10.0
"""What connecting, and each wait for bytes, may take."""
_HEADERS: Final = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "ibid"}
_LATER: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
# Types that say no more than a name's ending does, and what servers send for want of a better one.
_VAGUE: Final = frozenset({"", "text/plain", "application/octet-stream", "binary/octet-stream"})
_SYNONYMS: Final = {
    "text/xml": "application/xml",
    "application/xhtml+xml": "text/html",
    "text/json": "application/json",
}


class FetchFailed(Unavailable):
    """The server did not answer, broke off, or is out of order; later it may work."""

    code = "fetch_failed"


class FetchRefused(Invalid):
    """The server has nothing to give under this address; asking again changes nothing."""

    code = "fetch_refused"


class FetchTooLarge(TooLarge):
    """What is at the address is larger than a file may be."""

    code = "too_large"


@dataclass(frozen=True, slots=True)
class Limits:
    """`most` bytes and `seconds` in all; whether addresses of this machine and private networks are connected to."""

    most: int
    seconds: float
    allow_private: bool


def download(url: str, into: BinaryIO, limits: Limits, between: Callable[[], None]) -> str:
    """Write what is at the URL, `between` called after each piece; gives the name that it is best known by.

    Raises `AddressRefused`, `FetchFailed`, `FetchRefused` or `FetchTooLarge`.
    """
    at = links.parsed(url)
    timeout = min(SILENCE_SECONDS, limits.seconds)
    with (
        Deadline(limits.seconds) as deadline,
        fetch_client(allow_private=limits.allow_private, timeout=timeout) as client,
    ):
        for _ in range(MOST_REDIRECTS + 1):
            request = client.build_request("GET", at, headers=_HEADERS, extensions=deadline.watch)
            with _translated(at, deadline), closing(client.send(request, stream=True)) as response:
                if not response.has_redirect_location:
                    _save(response, into, limits, between)
                    _check(deadline)
                    return _name(at, response.headers)
                at = _target(at, response.headers["Location"])
    raise FetchRefused(
        f"{at.host!r} redirected more than {MOST_REDIRECTS} times. Give the address where the document is."
    )


def _target(at: httpx.URL, location: str) -> httpx.URL:
    """Where a redirect leads; a request of its own, to be checked like the first."""
    try:
        return links.parsed(str(at.join(location)))
    except (httpx.InvalidURL, Invalid) as error:
        raise FetchRefused(f"{at.host!r} redirected to what is no address to be fetched.") from error


def _save(response: httpx.Response, into: BinaryIO, limits: Limits, between: Callable[[], None]) -> None:
    host, status = response.url.host, response.status_code
    if status in _LATER or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise FetchFailed(f"{host!r} answered with the status {status}. Try again later.")
    if status != HTTPStatus.OK:
        raise FetchRefused(
            f"{host!r} answered with the status {status}. Check the address, and who may read it."
        )
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise FetchRefused(f"{host!r} sent it packed, though it was asked not to. Upload the file instead.")
    length, size = response.headers.get("Content-Length", ""), 0
    if length.isdecimal() and int(length) > limits.most:
        raise _too_large(limits)
    for piece in response.iter_raw():
        size += len(piece)
        if size > limits.most:
            raise _too_large(limits)
        into.write(piece)
        between()


def _too_large(limits: Limits) -> FetchTooLarge:
    return FetchTooLarge(f"It is larger than the {limits.most:,} bytes a file may have. Split it.")


def _name(at: httpx.URL, headers: Mapping[str, str]) -> str:
    """The name that the server gives it, or the last part of its path; with the ending of its type."""
    told = Message()
    told["Content-Disposition"] = headers.get("Content-Disposition", "")
    try:
        given = told.get_filename()
    except (LookupError, ValueError):  # in a character set that nobody knows
        given = None
    name = given or unquote(at.path.rstrip("/").rpartition("/")[2]) or at.host
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return safe_name(name + _ending(name, _SYNONYMS.get(kind, kind)))


def _ending(name: str, kind: str) -> str:
    """What the name lacks to say of which type the document is; nothing if its type is no better known than by it."""
    by_name = BY_EXTENSION.get(media.extension(name))
    if kind in _VAGUE:
        return "" if by_name or kind != "text/plain" else ".txt"
    if by_name is not None and by_name.name == kind:
        return ""
    return next((f".{ending}" for ending, known in BY_EXTENSION.items() if known.name == kind), "")


@contextmanager
def _translated(at: httpx.URL, deadline: Deadline) -> Iterator[None]:
    """The library's errors as ours. What breaks off when the time is over did so for that reason."""
    try:
        yield
    except httpx.TimeoutException as error:
        _check(deadline)
        raise FetchFailed(f"{at.host!r} took too long to answer. Try again later.") from error
    except httpx.HTTPError as error:
        _check(deadline)
        raise FetchFailed(f"{at.host!r} could not be reached, or broke off. Try again later.") from error


def _check(deadline: Deadline) -> None:
    """Raise `FetchFailed` if the time is over."""
    if deadline.over:
        raise FetchFailed(f"It did not come within {deadline.seconds:.0f} seconds. Try again later.")
