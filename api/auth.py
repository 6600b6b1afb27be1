"""Who asks: a Bearer key, or the cookie of a browser session, and whom they ask for."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.edge import same_site
from api.problems import request_id
from api.wiring import Wiring, wiring
from ibid import keys
from ibid.audit import Who
from ibid.errors import Forbidden, Unauthorized
from ibid.keys import RANKS, Holder
from ibid.principals import BadPrincipal, checked
from ibid.types import Role, Scope

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
BEARER = HTTPBearer(
    auto_error=False, scheme_name="key", description="An API key. The web page uses a session cookie instead."
)


class KeyMissing(Unauthorized):
    """Nobody says who they are."""

    code = "key_missing"


class RoleTooLow(Forbidden):
    """The key's role does not allow this."""

    code = "role_too_low"


class MayNotActFor(Forbidden):
    """The key may not speak for others."""

    code = "may_not_act_for"


class KeyLimited(Forbidden):
    """What is asked concerns every collection, and the key reaches only some."""

    code = "key_limited_to_collections"


class CrossSite(Forbidden):
    """A request with a session's cookie did not come from this service's own page."""

    code = "cross_site"


@dataclass(frozen=True, slots=True)
class Asker:
    """The key behind a request, what it may see, and how the audit trail names it."""

    holder: Holder
    scope: Scope
    who: Who

    @property
    def unlimited(self) -> bool:
        """Whether the key reaches every collection."""
        return self.holder.collections is None

    @property
    def knows(self) -> Scope:
        """What the key itself may know of, whoever it acts for: an administrator's reaches all that its collections hold."""
        everything = self.holder.role == "admin"
        return replace(self.scope, principals=None) if everything else self.scope

    def require(self, role: Role) -> None:
        """Raise `RoleTooLow` unless the key has at least this role."""
        if RANKS[self.holder.role] < RANKS[role]:
            raise RoleTooLow(
                f"This needs the role {role}, and your key is a {self.holder.role}. Ask an administrator."
            )


def cookie_name(port: int) -> str:
    """Cookies are shared by all ports of a host, so two services on one machine need two names."""
    return f"ibid_session_{port}"


def asker(
    request: Request,
    wired: Annotated[Wiring, Depends(wiring)],
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)],
) -> Asker:
    """The asker; raises an `Unauthorized` for nobody and a `Forbidden` for a cookie that another site sent along."""
    cookie = request.cookies.get(cookie_name(wired.parts.settings.port))
    if bearer is None and cookie is None:
        raise KeyMissing("Send a key in the header Authorization: Bearer …, or sign in on the page.")
    with wired.parts.db.read() as session:
        if bearer is not None:
            holder = keys.holder(session, bearer.credentials)
        else:
            _check_same_site(request)
            holder = keys.visitor(session, cookie or "")
    scope = scope_of(holder, request.headers.get("ibid-user"), request.headers.get("ibid-groups"))
    return Asker(holder, scope, Who(holder.id, scope.actor, request_id(request)))


def scope_of(holder: Holder, user: str | None, groups: str | None) -> Scope:
    """What a key may see, for itself or for the user it acts for."""
    if user is None and groups is None:
        everything = holder.role == "admin"
        principals = None if everything else frozenset({f"key:{holder.id}"})
        return Scope(holder.id, holder.role, principals, holder.collections, actor=f"key:{holder.id}")
    if not holder.may_act_for:
        raise MayNotActFor(
            "This key may not act for users. Leave out Ibid-User and Ibid-Groups, or use one that may."
        )
    if not user:
        raise BadPrincipal("Ibid-Groups needs Ibid-User beside it.", param="Ibid-User")
    named = [f"group:{name.strip()}" for name in _decoded(groups or "").split(",") if name.strip()]
    principals = frozenset(checked([f"user:{_decoded(user).strip()}", *named]))
    return Scope(
        holder.id, holder.role, principals, holder.collections, actor=f"user:{_decoded(user).strip()}"
    )


def needs(role: Role) -> Callable[[Asker], Asker]:
    """A dependency: the asker, who must have at least this role."""

    def of_role(found: Annotated[Asker, Depends(asker)]) -> Asker:
        found.require(role)
        return found

    return of_role


Reader = Annotated[Asker, Depends(asker)]
Editor = Annotated[Asker, Depends(needs("editor"))]
Admin = Annotated[Asker, Depends(needs("admin"))]


def overseer(found: Admin) -> Asker:
    """The asker, who must be an administrator of everything."""
    if not found.unlimited:
        raise KeyLimited("This key is limited to some collections, and what you ask concerns all of them.")
    return found


Overseer = Annotated[Asker, Depends(overseer)]


def _check_same_site(request: Request) -> None:
    if request.method in SAFE_METHODS:
        return
    origin = request.headers.get("origin")
    same = request.headers.get("sec-fetch-site") == "same-origin"
    if not same and not (origin and same_site(origin, request.headers.get("host", ""))):
        raise CrossSite("A session's cookie is good for the page of this service only. Use a key elsewhere.")


def _decoded(header: str) -> str:
    """A header's text: bytes of UTF-8, which HTTP libraries show as Latin-1."""
    try:
        return header.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return header
