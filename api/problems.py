"""Errors as RFC 9457 problem documents: each category of `ibid.errors` has a status, each leaf its own `code`."""

import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from ibid import errors
from ibid.blobs.port import NoRoom
from ibid.errors import Conflict, IbidError, Invalid
from ibid.media import UnsupportedType
from ibid.replies import InProgress

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
REQUEST_ID = "ibid.request_id"
WAIT_SECONDS = 2.0


class Malformed(Invalid):
    """The request is not written as HTTP, JSON or a form is."""

    code = "malformed"


class WrongContentType(Invalid):
    """The body is of a kind that this address does not take."""

    code = "unsupported_media_type"


class HostNotAllowed(Invalid):
    """The request names a host that this service does not answer for."""

    code = "host_not_allowed"


class VersionUnsupported(Invalid):
    """The request speaks a version of tus that is not spoken here."""

    code = "tus_version_unsupported"


class ChecksumMismatch(Conflict):
    """The bytes of a part are not those that were sent."""

    code = "checksum_mismatch"
    retryable = True


STATUSES: dict[type[IbidError], int] = {
    Malformed: 400,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Gone: 410,
    VersionUnsupported: 412,
    errors.TooLarge: 413,
    UnsupportedType: 415,
    WrongContentType: 415,
    HostNotAllowed: 421,
    errors.Invalid: 422,
    errors.Limited: 429,
    ChecksumMismatch: 460,
    errors.Unavailable: 503,
    NoRoom: 507,
}
PHRASES = {460: "Checksum Mismatch"}
"""Of the statuses that HTTP itself does not know: this one is tus's own."""
# What Starlette itself refuses, by status.
CODES = {
    404: ("no_such_route", "There is nothing at this address. GET /openapi.json lists what there is."),
    405: (
        "method_not_allowed",
        "This address does not take this method. GET /openapi.json lists those it takes.",
    ),
    413: ("too_large", ""),
}


# What is refused before an operation sees the request, by what the request brings; the OpenAPI document says so of each.
ANYWHERE = (400, 403, 421, 500, 503)
WITH_BODY = (413, 415, 422)
WITH_IDEMPOTENCY_KEY = (409, 422)


class Problem(BaseModel):
    """What went wrong: `code` is for programs and never changes, `detail` is a sentence for a person."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    retryable: bool
    param: str | None = None


def phrase(status: int) -> str:
    """The name of a status."""
    return PHRASES.get(status) or HTTPStatus(status).phrase


def status_of(error: IbidError) -> int:
    """The status of the error's nearest category."""
    return next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), 500)


def describe(error: IbidError, request_id: str) -> dict[str, Any]:
    """The error as the members of a problem document."""
    return _members(
        status_of(error), error.code, error.message, request_id, retryable=error.retryable, param=error.param
    )


def reply(error: IbidError, request_id: str, extra: Mapping[str, Any] | None = None) -> Response:
    """The error as a response; `extra` adds members."""
    headers = {}
    status = status_of(error)
    if isinstance(error, errors.Unauthorized):
        headers["WWW-Authenticate"] = 'Bearer realm="ibid"'
    if isinstance(error, VersionUnsupported):
        headers["Tus-Version"] = "1.0.0"
    wait = error.retry_after if isinstance(error, errors.Limited | InProgress) else WAIT_SECONDS
    if isinstance(error, errors.Limited | errors.Unavailable | InProgress):
        headers["Retry-After"] = str(max(1, round(wait)))
    return _rendered(status, describe(error, request_id) | dict(extra or {}), headers)


def internal(request_id: str) -> Response:
    """The reply to a mistake of our own, which says nothing of it: the log does, under the request's id."""
    sentence = f"Ibid made a mistake. It is logged under the request id {request_id}; please report it."
    return _rendered(500, _members(500, "internal", sentence, request_id, retryable=False), {})


def request_id(request: Request) -> str:
    """The id under which this request is logged."""
    return str(request.scope.get(REQUEST_ID, ""))


def install(app: FastAPI) -> None:
    """Make the application answer errors as problem documents."""
    app.add_exception_handler(IbidError, _on_error)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(HTTPException, _on_http)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The problem responses of an operation, for the OpenAPI document."""
    return {
        status: {
            "description": phrase(status),
            "content": {MEDIA_TYPE: {"schema": {"$ref": _REF}}},
        }
        for status in statuses
    }


_REF = "#/components/schemas/Problem"


async def _on_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, IbidError):
        raise error
    return reply(error, request_id(request))


async def on_validation(request: Request, error: Exception) -> Response:
    """The reply to a request that is not as its operation takes it."""
    if not isinstance(error, RequestValidationError):
        raise error
    found = error.errors()
    if any(each["type"] == "json_invalid" and isinstance(each["loc"][-1], int) for each in found):
        return reply(not_json(), request_id(request))
    if request.headers.get("content-type") and _wants_json(found) and not _is_json(request):
        sentence = "The body is not sent as JSON. Send JSON with the header Content-Type: application/json."
        return reply(WrongContentType(sentence, param="Content-Type"), request_id(request))
    first = found[0]
    param = ".".join(_printable(part) for part in first["loc"])
    # Never `input` or `ctx`: they quote the request, which may hold a secret.
    invalid = Invalid(f"{param}: {first['msg']}.", param=param)
    body = describe(invalid, request_id(request)) | {"code": "invalid_request"}
    places = [
        {"param": ".".join(_printable(part) for part in each["loc"]), "detail": each["msg"]} for each in found
    ]
    return _rendered(422, body | {"errors": places[:20]}, {})


async def _on_http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == HTTPStatus.BAD_REQUEST and _is_json(request):
        # FastAPI says only that the body could not be parsed: not UTF-8, or nested too deeply.
        return reply(not_json(), request_id(request))
    code, sentence = CODES.get(error.status_code, (f"http_{error.status_code}", ""))
    body = _members(error.status_code, code, sentence or str(error.detail), request_id(request))
    return _rendered(error.status_code, body, dict(error.headers or {}))


class InvalidJson(Malformed):
    """The body is not JSON in UTF-8."""

    code = "invalid_json"


def not_json() -> InvalidJson:
    """The error for a body that cannot be read as JSON."""
    return InvalidJson(
        "The body is not valid JSON in UTF-8. Check quotes, commas and the encoding.", param="body"
    )


def _members(
    status: int, code: str, detail: str, request_id: str, *, retryable: bool = False, param: str | None = None
) -> dict[str, Any]:
    problem = Problem(
        title=phrase(status),
        status=status,
        detail=detail,
        code=code,
        request_id=request_id,
        retryable=retryable,
        param=param,
    )
    return problem.model_dump(exclude_none=True)


def _rendered(status: int, body: Mapping[str, Any], headers: Mapping[str, str]) -> Response:
    # ASCII escapes carry even lone surrogates, which a name in the sentence may hold.
    return Response(json.dumps(body), status, headers=headers, media_type=MEDIA_TYPE)


def _is_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def _wants_json(found: Sequence[Mapping[str, Any]]) -> bool:
    return any(tuple(each["loc"]) == ("body",) and each["type"] != "missing" for each in found)


def _printable(part: object) -> str:
    return ascii(part)[1:-1][:60] if isinstance(part, str) else str(part)
