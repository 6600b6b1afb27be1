"""Browser sessions: a one-time link or a key for a cookie that scripts cannot read."""

from typing import Annotated, Self

from fastapi import APIRouter, Depends, Request, Response, status
from pydantic import Field, SecretStr, model_validator

from api import models
from api.auth import Reader, asker, cookie_name
from api.problems import documented
from api.routes.injected import Wired
from ibid import keys
from ibid.types import Role

router = APIRouter(prefix="/v1/session", tags=["session"])


class SignIn(models.Request):
    """Exactly one of the two."""

    token: Annotated[SecretStr, Field(max_length=200)] | None = None
    api_key: Annotated[SecretStr, Field(max_length=1000)] | None = None

    @model_validator(mode="after")
    def one(self) -> Self:
        """Refuse both and none."""
        if (self.token is None) == (self.api_key is None):
            raise ValueError("send either token or api_key")
        return self


class Session(models.Response):
    """Who is signed in. `url_ingestion` is whether the operator lets documents be fetched from addresses."""

    role: Role
    name: str
    url_ingestion: bool


@router.post("", operation_id="sign_in", status_code=204, responses=documented(401, 422))
def sign_in(body: SignIn, request: Request, wired: Wired) -> Response:
    """Exchange a one-time link's token, or a key, for a session's cookie. A token is good once, whatever is repeated."""
    with wired.parts.db.begin() as session:
        if body.token is not None:
            secret, _ = keys.exchange(session, body.token.get_secret_value())
        else:
            given = body.api_key.get_secret_value() if body.api_key else ""
            secret = keys.new_session(session, keys.holder(session, given))
    reply = Response(status_code=status.HTTP_204_NO_CONTENT)
    reply.set_cookie(
        cookie_name(wired.parts.settings.port),
        secret,
        max_age=int(keys.SESSION_LIFE.total_seconds()),
        path="/",
        secure=_is_https(request),
        httponly=True,
        samesite="strict",
    )
    return reply


@router.get("", operation_id="get_session", responses=documented(401))
def get_session(found: Reader, wired: Wired) -> Session:
    """Who is signed in, or whose key this is."""
    fetches = wired.parts.settings.url_ingestion
    return Session(role=found.holder.role, name=found.holder.name, url_ingestion=fetches)


@router.delete(
    "",
    operation_id="sign_out",
    status_code=204,
    responses=documented(401, 403),
    dependencies=[Depends(asker)],
)
def sign_out(request: Request, wired: Wired) -> Response:
    """End the session whose cookie came with the request."""
    name = cookie_name(wired.parts.settings.port)
    with wired.parts.db.begin() as session:
        keys.end_session(session, request.cookies.get(name, ""))
    reply = Response(status_code=status.HTTP_204_NO_CONTENT)
    reply.delete_cookie(name, path="/", secure=_is_https(request), httponly=True, samesite="strict")
    return reply


def _is_https(request: Request) -> bool:
    """Whether the browser spoke TLS, to us or to a proxy that says so; a lie only keeps the liar's cookie back."""
    return request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"
