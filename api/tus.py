"""What tus 1.0 says of every request to its addresses: the version, what the server can do, and checksums."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from api import problems
from api.problems import ChecksumMismatch, Malformed, VersionUnsupported
from ibid.errors import IbidError

VERSION = {"Tus-Resumable": "1.0.0"}
SPOKEN = {"Tus-Version": VERSION["Tus-Resumable"]}
EXTENSIONS = ("creation", "creation-with-upload", "expiration", "termination", "checksum")
ALGORITHMS = ("sha1", "sha256", "sha512")
BYTES = "application/offset+octet-stream"


class BadChecksum(Malformed):
    """Upload-Checksum is not written as tus writes it, or names an algorithm that is not known here."""

    code = "bad_upload_checksum"


class TusRoute(APIRoute):
    """A route whose every reply names the protocol, and which looks at no request of another version of it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, within what the protocol says."""
        handle = super().get_route_handler()

        async def within(request: Request) -> Response:
            try:
                _check_version(request)
                reply = await handle(request)
            except IbidError as error:
                reply = problems.reply(error, problems.request_id(request))
            except RequestValidationError as error:
                reply = await problems.on_validation(request, error)
            reply.headers.update(VERSION)
            return reply

        return within


class Checksum:
    """The checksum that a request announces for its body, compared with that of the bytes that came."""

    def __init__(self, header: str) -> None:
        algorithm, _, encoded = header.strip().partition(" ")
        if algorithm not in ALGORITHMS:
            raise BadChecksum(
                f"Upload-Checksum names none of {', '.join(ALGORITHMS)}.", param="Upload-Checksum"
            )
        self._seen = hashlib.new(algorithm, usedforsecurity=False)
        self._expected = _decoded(encoded)
        if len(self._expected) != self._seen.digest_size:
            raise BadChecksum(
                f"This is no checksum of {algorithm}: its length is another.", param="Upload-Checksum"
            )

    def update(self, piece: bytes) -> None:
        """Take more of the body into account."""
        self._seen.update(piece)

    def verify(self) -> None:
        """Raise `ChecksumMismatch` unless the bytes are those that were sent."""
        if not hmac.compare_digest(self._seen.digest(), self._expected):
            raise ChecksumMismatch(
                "The bytes changed on their way: their checksum is another. None of them was kept; send them again.",
                param="Upload-Checksum",
            )


@dataclass(frozen=True, slots=True)
class Octets:
    """What a request's headers say of its body: whether it is a part of an upload, and its checksum, if it has one."""

    given: bool
    checksum: Checksum | None


def octets(
    content_type: Annotated[str, Header(include_in_schema=False)] = "",
    upload_checksum: Annotated[
        str | None,
        Header(description="sha1, sha256 or sha512, a blank, and the sum in Base64", max_length=200),
    ] = None,
) -> Octets:
    """Read the headers; raises `BadChecksum`."""
    checksum = None if upload_checksum is None else Checksum(upload_checksum)
    return Octets(given=content_type == BYTES, checksum=checksum)


def offered(most: int) -> Response:
    """The reply to OPTIONS: what the server can do; `most` is the largest upload in bytes."""
    told = SPOKEN | {
        "Tus-Extension": ",".join(EXTENSIONS),
        "Tus-Max-Size": str(most),
        "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
    }
    return Response(status_code=204, headers=told)


def _decoded(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadChecksum(
            "Upload-Checksum is an algorithm, a blank, and the checksum in Base64.", param="Upload-Checksum"
        ) from error


def _check_version(request: Request) -> None:
    """A request that names no version is one of plain HTTP, and as good."""
    spoken = request.headers.get("Tus-Resumable", VERSION["Tus-Resumable"])
    if request.method != "OPTIONS" and spoken != VERSION["Tus-Resumable"]:
        raise VersionUnsupported("Only version 1.0.0 of tus is spoken here.", param="Tus-Resumable")
