"""What every request passes first: an id, the Host and Origin checks, safe headers, and the one broad `except`."""

import logging
import re
from http import HTTPStatus
from ipaddress import ip_address
from time import perf_counter
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import problems
from api.problems import HostNotAllowed, Malformed
from ibid import logs, metrics
from ibid.errors import Forbidden, IbidError
from ibid.settings import Settings

log = logging.getLogger("ibid.requests")

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
WILDCARDS = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 - compared, not bound
SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
POLICY = (
    "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; object-src 'none'; "
    "form-action 'self'"
)
SAFE_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class OriginNotAllowed(Forbidden):
    """A page of another site sent the request."""

    code = "origin_not_allowed"


class Edge:
    """Middleware around everything else."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._hosts = LOOPBACK | {settings.host.lower()} | _listed(settings.allowed_hosts)
        self._any_address = settings.host in WILDCARDS
        self._origins = _listed(settings.cors_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse what must not come in; answer anything unexpected with a bare 500 and log it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = _request_id(headers)
        scope[problems.REQUEST_ID] = request_id
        outward = _Outward(send, request_id, scope["path"])
        with logs.on_request(request_id):
            await self._pass(scope, receive, outward, headers, request_id)

    async def _pass(
        self, scope: Scope, receive: Receive, outward: "_Outward", headers: Headers, request_id: str
    ) -> None:
        try:
            self._check(scope, headers)
            await self._app(scope, receive, outward)
        except IbidError as error:
            await problems.reply(error, request_id)(scope, receive, outward)
        except Exception:
            log.exception("unexpected error")
            if outward.status:
                raise  # the reply has begun; only closing the connection can say that it is broken
            await problems.internal(request_id)(scope, receive, outward)
        finally:
            _tell(scope, outward)

    def _check(self, scope: Scope, headers: Headers) -> None:
        if "\x00" in scope["path"] or b"%00" in scope["query_string"]:
            raise Malformed("The address holds a null character. Leave it out.")
        host = headers.get("host", "")
        if not self._knows(_name_of(host)):
            raise HostNotAllowed(
                "This service does not answer under this host name. Add the name to IBID_ALLOWED_HOSTS if it should."
            )
        origin = headers.get("origin")
        if origin is not None and not same_site(origin, host) and origin.lower() not in self._origins:
            raise OriginNotAllowed(
                "Pages of this origin may not call the service. Add the origin to IBID_CORS_ORIGINS if they should."
            )

    def _knows(self, name: str) -> bool:
        if name in self._hosts or "*" in self._hosts:
            return True
        # A rebound name is the danger, and an address is no name.
        return self._any_address and _is_address(name)


def _tell(scope: Scope, outward: "_Outward") -> None:
    """Count the request and log it, by its route, since an address may hold the name of a collection."""
    route = getattr(scope.get("route"), "path", None) or "(no route)"
    ended = {
        "method": scope["method"],
        "route": route,
        "status": outward.status,
        "ms": round(outward.spent()),
    }
    metrics.answered(scope["method"], route, outward.status, outward.spent() / 1000)
    log.info("%(method)s %(route)s %(status)d %(ms)d ms", ended, extra=ended)


class _Outward:
    """The way out: adds headers to the reply and remembers its status (0 before it begins)."""

    def __init__(self, send: Send, request_id: str, path: str) -> None:
        self._send = send
        self._request_id = request_id
        self._kept = _how_long_kept(path)
        self._began = perf_counter()
        self.status = 0

    async def __call__(self, message: Message) -> None:
        """Pass the message on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self._request_id
            for name, value in SAFE_HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", self._kept if self.status == HTTPStatus.OK else "no-store")
        await self._send(message)

    def spent(self) -> float:
        """Milliseconds since the request came."""
        return (perf_counter() - self._began) * 1000


def same_site(origin: str, host: str) -> bool:
    """Whether an Origin header names the host that the request was sent to."""
    return bool(host) and origin.partition("://")[2].lower() == host.lower()


def _how_long_kept(path: str) -> str:
    """What caches may do: nothing with data, everything with files whose name has their hash."""
    if path.startswith("/assets/"):
        return "public, max-age=31536000, immutable"
    return "no-store" if path.startswith("/v1/") else "no-cache"


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if SANE_ID.fullmatch(given) else uuid4().hex


def _listed(setting: str) -> frozenset[str]:
    return frozenset(entry.strip().rstrip("/").lower() for entry in setting.split(",") if entry.strip())


def _name_of(host: str) -> str:
    """The Host header without its port, and without the brackets of an IPv6 address."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
