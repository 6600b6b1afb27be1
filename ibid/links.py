"""Addresses of documents: what may be one. A name and password in it would be kept with the document, and is refused."""

from typing import Final

import httpx

from ibid.errors import Forbidden, Invalid
from ibid.outbound import SCHEMES

LONGEST_URL: Final = 2000


class UrlIngestionOff(Forbidden):
    """Documents are not fetched unless the operator says so."""

    code = "url_ingestion_off"


class BadUrl(Invalid):
    """The text is no address that can be fetched."""

    code = "bad_url"


class UrlWithCredentials(Invalid):
    """The address holds a name or a password."""

    code = "url_with_credentials"


def check_allowed(*, allowed: bool) -> None:
    """Raise `UrlIngestionOff` unless it is on."""
    if not allowed:
        raise UrlIngestionOff(
            "Documents are not fetched from addresses here. Upload the file, or set IBID_URL_INGESTION=true."
        )


def parsed(url: str) -> httpx.URL:
    """The address; raises `BadUrl` or `UrlWithCredentials`. No message holds it: it may be a secret."""
    try:
        found = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise BadUrl("This is no address. Write it as https://host/path.", param="url") from error
    # httpx writes what no host may hold as %XX and would ask for a name of it.
    host_fits = bool(found.host) and b"%" not in found.raw_host and " " not in found.host
    if found.scheme not in SCHEMES or not host_fits or len(url) > LONGEST_URL or not url.isprintable():
        raise BadUrl(
            f"Give an address as https://host/path, of at most {LONGEST_URL} characters.", param="url"
        )
    if found.userinfo:
        raise UrlWithCredentials(
            "The address holds a name or password, which would be kept with the document. Leave it out.",
            param="url",
        )
    return found
