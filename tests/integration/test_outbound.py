"""Connections to addresses that others chose, with a real server on loopback that must not be reached."""

import socket
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Any

import httpx
import pytest

from ibid import outbound
from ibid.outbound import AddressRefused, Deadline, fetch_client
from tests.receiver import Receiver, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


def get(url: str, *, allow_private: bool = False) -> httpx.Response:
    with fetch_client(allow_private=allow_private, timeout=5) as client:
        return client.get(url, follow_redirects=True)


class TestPrivate:
    @pytest.mark.parametrize(
        "host",
        ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "0.0.0.0", "[::ffff:127.0.0.1]"],
    )
    def test_however_it_is_written_is_not_reached(self, receiver: Receiver, host: str) -> None:
        with pytest.raises(AddressRefused, match="private network"):
            get(f"http://{host}:{receiver.port}/")
        assert receiver.requests == []

    def test_is_reached_where_it_is_allowed(self, receiver: Receiver) -> None:
        assert get(f"http://localhost:{receiver.port}/a?b=c", allow_private=True).status_code == 204
        (path, headers, _) = receiver.requests[0]
        assert (path, headers["host"]) == ("/a?b=c", f"localhost:{receiver.port}")

    @pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/"])
    def test_only_http_is_spoken(self, url: str) -> None:
        with pytest.raises(AddressRefused, match="scheme"):
            get(url, allow_private=True)

    @pytest.mark.parametrize(
        "address",
        [
            "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
            "255.255.255.255", "::1", "fe80::1", "fd00::1", "ff02::1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
            "2002:7f00:1::", "64:ff9b::a9fe:a9fe",
        ],
    )  # fmt: skip
    def test_ranges(self, address: str) -> None:
        assert not outbound.is_public(ip_address(address))

    @pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700:4700::1111", "64:ff9b::101:101"])
    def test_ends_where_the_internet_begins(self, address: str) -> None:
        assert outbound.is_public(ip_address(address))


class TestName:
    """What a name resolves to is the name's owner's choice; here the resolver is told what to say."""

    def resolve(self, monkeypatch: pytest.MonkeyPatch, **names: list[list[str]]) -> None:
        """Names with their answers, one list of addresses for each look-up in turn."""
        known = {name.replace("_", "."): answers for name, answers in names.items()}

        def look_up(host: bytes | str, port: int, *more: object, **options: object) -> list[object]:
            name = host.decode() if isinstance(host, bytes) else host
            answers = known.get(name)
            addresses = (answers.pop(0) if len(answers) > 1 else answers[0]) if answers else [name]
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in addresses]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)

    def test_that_resolves_to_loopback(self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
        self.resolve(monkeypatch, inner_example=[["127.0.0.1"]])
        with pytest.raises(AddressRefused):
            get(f"http://inner.example:{receiver.port}/")
        assert receiver.requests == []

    def test_with_one_private_address_among_public_ones(
        self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.resolve(monkeypatch, mixed_example=[["93.184.216.34", "127.0.0.1"]])
        with pytest.raises(AddressRefused):
            get(f"http://mixed.example:{receiver.port}/")

    def test_that_changes_between_check_and_connection(
        self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Rebinding: the second look-up would say 127.0.0.1, and is never made. 127.0.0.2 stands for the outside."""
        self.resolve(monkeypatch, rebound_example=[["127.0.0.2"], ["127.0.0.1"]])
        monkeypatch.setattr(outbound, "is_public", lambda address: str(address) == "127.0.0.2")
        with pytest.raises(httpx.ConnectError):  # nothing listens at 127.0.0.2
            get(f"http://rebound.example:{receiver.port}/")
        assert receiver.requests == []

    def test_redirect_to_a_private_address(self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
        """The first address passes for public; the redirect from it leads inside."""
        self.resolve(monkeypatch, outer_example=[["127.0.0.1"]], inner_example=[["127.0.0.3"]])
        monkeypatch.setattr(outbound, "is_public", lambda address: str(address) == "127.0.0.1")
        receiver.answers = [f"http://inner.example:{receiver.port}/secret"]
        with pytest.raises(AddressRefused, match="inner"):
            get(f"http://outer.example:{receiver.port}/")
        assert [path for path, _, _ in receiver.requests] == ["/"]

    def test_second_address_is_tried_when_the_first_is_down(
        self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.resolve(monkeypatch, twice_example=[["127.0.0.9", "127.0.0.1"]])
        assert get(f"http://twice.example:{receiver.port}/", allow_private=True).status_code == 204

    def test_unknown(self) -> None:
        with pytest.raises(httpx.ConnectError, match="not known"):
            get("http://nobody.invalid/")


class TestDeadline:
    @pytest.mark.parametrize(("timeout", "most"), [(60.0, 20.0), (2.0, 2.0)])
    def test_connecting_may_take_no_more_than_is_left(
        self, receiver: Receiver, timeout: float, most: float
    ) -> None:
        allowed: list[float] = []

        def note(event: str, info: Mapping[str, Any]) -> None:
            if event == "connection.connect_tcp.started":
                allowed.append(info["timeout"])

        with fetch_client(allow_private=True, timeout=timeout) as client, Deadline(20.0) as deadline:
            client.get(receiver.url, extensions=deadline.watch | {"trace": note})
        (given,) = allowed
        assert 0 < given <= most


def test_proxies_of_the_environment_are_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would connect for us, and to anywhere."""
    monkeypatch.setenv("HTTP_PROXY", receiver.url)
    with pytest.raises(AddressRefused):
        get("http://10.0.0.1/")
    assert receiver.requests == []
