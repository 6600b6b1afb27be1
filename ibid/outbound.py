"""Requests to addresses that somebody else chose: webhooks and documents by URL.

A name is resolved here, every address it has is checked, and the connection goes to a checked address and nowhere
else: a second look-up between check and connection, as in DNS rebinding, does not happen. The same holds for each
redirect that a caller follows, since a redirect is a request of its own.
"""

import math
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any, Self

import httpx

from ibid.errors import Forbidden

SCHEMES = {"http": 80, "https": 443}
NAT64 = IPv6Network("64:ff9b::/96")  # whose last four bytes are an IPv4 address


class AddressRefused(Forbidden):
    """The URL leads to an address of this machine or its network."""

    code = "address_refused"


def fetch_client(*, allow_private: bool, timeout: float) -> httpx.Client:
    """A client whose every connection is checked; proxies and passwords of the environment are not used.

    `timeout` is in seconds for each of connecting, writing and reading. Redirects are followed only where asked for.
    """
    # A kept connection is known by its address alone: the next host at the same address would inherit its certificate.
    unkept = httpx.Limits(max_keepalive_connections=0)
    transport = _CheckedTransport(allow_private=allow_private, limits=unkept)
    return httpx.Client(transport=transport, timeout=timeout, trust_env=False)


class Deadline:
    """The end of the time that requests may take: their connections are shut down then, however slowly bytes drip in.

    What breaks off after it did so for that reason: `over` says so. Only the look-up of a name cannot be broken off: it
    takes as long as the machine's resolver tries, and no connection is made after the end.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._struck = False
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._end = math.inf
        self._timer = threading.Timer(seconds, self._strike)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._end = time.monotonic() + self.seconds
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        with self._lock:
            for own in self._sockets:
                own.close()
            self._sockets.clear()

    @property
    def over(self) -> bool:
        """Whether the end has come: by the clock, since a connection gives up at that moment on its own."""
        return self._struck or time.monotonic() >= self._end

    @property
    def watch(self) -> dict[str, Any]:
        """The `extensions` that make a request tell of its connections, and make them in the time that is left."""
        return {"trace": self._trace, "deadline": self}

    def bound(self, seconds: float) -> float:
        """So many seconds, or what is left if that is less; never 0, which would mean not to wait at all."""
        return max(0.001, min(seconds, self._end - time.monotonic()))

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.started" and self.over:
            raise httpx.ConnectTimeout("The time is over.")
        if event == "connection.connect_tcp.complete":
            # A copy: TLS takes the socket over, and shutting down any copy ends the connection.
            own = info["return_value"].get_extra_info("socket").dup()
            with self._lock:
                self._sockets.append(own)
                if self.over:
                    _shut(own)

    def _strike(self) -> None:
        with self._lock:
            self._struck = True
            for own in self._sockets:
                _shut(own)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address, and the IPv4 address that it may carry, belongs to the internet at large."""
    return all(each.is_global and not each.is_multicast for each in (address, *_carried(address)))


class _CheckedTransport(httpx.HTTPTransport):
    """Connects to addresses that were checked. The certificate is still that of the name."""

    def __init__(self, *, allow_private: bool, limits: httpx.Limits) -> None:
        super().__init__(limits=limits, trust_env=False)
        self._allow_private = allow_private

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Try the host's addresses in turn."""
        host = request.url.raw_host.decode("ascii")
        failure: httpx.TransportError = httpx.ConnectError(f"{host!r} has no address.", request=request)
        for address in self._addresses(request):
            # The Host header was written from the URL before; TLS asks for the name in `sni_hostname`.
            checked = httpx.Request(
                request.method,
                request.url.copy_with(host=address),
                headers=request.headers,
                stream=request.stream,
                extensions=request.extensions | {"sni_hostname": host, "timeout": _timeout(request)},
            )
            try:
                return super().handle_request(checked)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error
        raise failure

    def _addresses(self, request: httpx.Request) -> list[str]:
        """All addresses of the request's host, none of which is refused."""
        url = request.url
        if url.scheme not in SCHEMES:
            raise AddressRefused(f"The scheme {url.scheme!r} is not fetched. Use https or http.")
        try:
            found = socket.getaddrinfo(url.raw_host, url.port or SCHEMES[url.scheme], type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError(f"The name {url.host!r} is not known.", request=request) from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        # One private address among public ones is refused, too: which would be tried first is the name's owner's choice.
        if not self._allow_private and not all(is_public(ip_address(each)) for each in addresses):
            raise AddressRefused(
                f"{url.host!r} is an address of this machine or of a private network, which is not connected to."
            )
        return addresses


def _timeout(request: httpx.Request) -> dict[str, float]:
    """The request's timeouts in seconds: connecting, which no deadline can break off, ends with it."""
    timeout = dict(request.extensions["timeout"])
    deadline = request.extensions.get("deadline")
    if isinstance(deadline, Deadline):
        timeout["connect"] = deadline.bound(timeout["connect"])
    return timeout


def _shut(own: socket.socket) -> None:
    with suppress(OSError):  # the other side was quicker
        own.shutdown(socket.SHUT_RDWR)


def _carried(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address]:
    """The IPv4 addresses inside an IPv6 address that translators and tunnels would connect to."""
    if isinstance(address, IPv4Address):
        return
    for inner in (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())):
        if inner is not None:
            yield inner
    if address in NAT64:
        yield IPv4Address(int(address) & 0xFFFFFFFF)
