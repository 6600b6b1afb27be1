"""The API's description: OpenAPI for programs, and a plain page for people that needs no other server and no script."""

from collections.abc import Iterator
from html import escape
from ipaddress import ip_address
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Security
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.security import HTTPAuthorizationCredentials

from api.auth import BEARER, asker
from api.wiring import Wiring, wiring

router = APIRouter(include_in_schema=False)


def local_or_known(
    request: Request,
    wired: Annotated[Wiring, Depends(wiring)],
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)],
) -> None:
    """Let in whoever is on this machine; everybody else needs a key."""
    if not _on_this_machine(request):
        asker(request, wired, bearer)


@router.get("/openapi.json", dependencies=[Depends(local_or_known)])
def openapi(request: Request) -> JSONResponse:
    """The OpenAPI document."""
    return JSONResponse(request.app.openapi())


@router.get("/docs", dependencies=[Depends(local_or_known)])
def docs(request: Request) -> HTMLResponse:
    """The same for people."""
    return HTMLResponse("".join(_page(request.app.openapi())))


def _on_this_machine(request: Request) -> bool:
    """Whether the client's address is loopback, and no proxy says that it speaks for somebody else."""
    if request.client is None or "x-forwarded-for" in request.headers or "forwarded" in request.headers:
        return False
    try:
        return ip_address(request.client.host).is_loopback
    except ValueError:
        return False


def _page(document: dict[str, Any]) -> Iterator[str]:
    info = document["info"]
    yield f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(info['title'])}</title>"
    yield f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info.get('description', ''))}</p>"
    yield "<p><a href=/openapi.json>openapi.json</a> is the same for programs.</p>"
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield from _operation(path, method, operation)
    yield "</html>"


def _operation(path: str, method: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"<h2 id={escape(operation['operationId'])}><code>{method.upper()} {escape(path)}</code></h2>"
    yield f"<p>{escape(operation.get('description', ''))}</p><dl>"
    for parameter in operation.get("parameters", ()):
        required = "" if parameter.get("required") else ", optional"
        about = escape(parameter.get("description", ""))
        yield f"<dt><code>{escape(parameter['name'])}</code> ({parameter['in']}{required})</dt><dd>{about}</dd>"
    yield "</dl><ul>"
    for status, response in operation["responses"].items():
        yield f"<li>{escape(status)}: {escape(response.get('description', ''))}</li>"
    yield "</ul>"
