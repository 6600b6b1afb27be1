"""Bodies of requests, limited while they are read: a sender that lies about the length, or says none, gains nothing."""

from collections.abc import AsyncGenerator

from starlette.datastructures import Headers, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import Malformed
from ibid.errors import TooLarge
from ibid.settings import Settings

SMALL = 1024 * 1024
FILES_AT_ONCE = 10
"""A request may bring so many times the limit of one file."""
FORGIVEN = 16 * 1024 * 1024
"""So many bytes beyond the limit are read and dropped, so that the sender is listening when the refusal comes."""
MOST_FILES = 1000
MOST_FIELDS = 20
LONGEST_FIELD = 256 * 1024


class BodyTooLarge(TooLarge):
    """The body has more bytes than this address takes."""

    code = "too_large"


class BadForm(Malformed):
    """The form is not written as forms are."""

    code = "invalid_form"


class BodyLimit:
    """Middleware that counts the bytes of a body as they come."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._file = settings.max_upload_bytes
        self._resumable = settings.max_resumable_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a body that says it is too large; watch over every other."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        limit = self._limit(scope, headers)
        declared = _declared(headers)
        if declared > limit:
            if declared <= limit + FORGIVEN:
                await _drop(receive, declared)
            raise BodyTooLarge(_sentence(limit))
        await self._app(scope, _Counted(receive, limit), send)

    def _limit(self, scope: Scope, headers: Headers) -> int:
        """In bytes. Only uploads are larger than 1 MiB: a form may bring several files, JSON one text."""
        path = scope["path"]
        if scope["method"] == "PATCH" and path.startswith("/v1/uploads/"):
            return self._resumable
        if path.startswith("/v1/collections/") and path.endswith("/uploads"):
            # With a key the whole body is held, to know it again.
            return SMALL if "idempotency-key" in headers else self._resumable
        if not (path.startswith("/v1/collections/") and path.endswith("/documents")):
            return SMALL
        if headers.get("content-type", "").startswith("multipart/"):
            return self._file * FILES_AT_ONCE + SMALL
        return self._file + SMALL


class _Counted:
    """A `receive` that raises once the limit is passed."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive = receive
        self._limit = limit
        self._taken = 0

    async def __call__(self) -> Message:
        """The next message."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._taken += len(message.get("body", b""))
            if self._taken > self._limit:
                if message.get("more_body", False):
                    await _drop(self._receive, FORGIVEN)
                # FastAPI lets this class through while it reads a body, and hides every other.
                raise HTTPException(413, _sentence(self._limit))
        return message


class FormParser(MultiPartParser):
    """Starlette's parser, which spools files to disk, with a limit for each file.

    The bytes of a file beyond the limit are dropped, so that the other files of the form still arrive.
    """

    def __init__(self, request: Request, *, max_file: int) -> None:
        super().__init__(
            request.headers,
            _stream(request),
            max_files=MOST_FILES,
            max_fields=MOST_FIELDS,
            max_part_size=LONGEST_FIELD,
        )
        self._max_file = max_file
        self._taken = 0
        self.oversized: list[UploadFile] = []

    def on_part_begin(self) -> None:
        """Count anew."""
        super().on_part_begin()
        self._taken = 0

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        """Take the bytes, unless the file has too many."""
        file = self._current_part.file
        if file is None:
            super().on_part_data(data, start, end)
            return
        self._taken += end - start
        if self._taken <= self._max_file:
            super().on_part_data(data, start, end)
        elif file not in self.oversized:
            self.oversized.append(file)


async def _stream(request: Request) -> AsyncGenerator[bytes, None]:
    async for chunk in request.stream():
        yield chunk


def _declared(headers: Headers) -> int:
    text = headers.get("content-length", "0")
    if not (text.isascii() and text.isdigit()):
        raise Malformed("Content-Length is not a number.")
    return int(text)


async def _drop(receive: Receive, most: int) -> None:
    dropped, more = 0, True
    while more and dropped < most:
        message = await receive()
        dropped += len(message.get("body", b""))
        more = message["type"] == "http.request" and message.get("more_body", False)


def _sentence(limit: int) -> str:
    return f"The body is larger than the {limit:,} bytes that this address takes. Send less at once."
