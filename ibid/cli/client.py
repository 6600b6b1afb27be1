"""How commands reach a server: the one named by the environment, the one running here, or one for this command only."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO

import httpx

from ibid.errors import IbidError, Invalid, Unavailable
from ibid.settings import Settings

PATIENCE_SECONDS = 600.0
"""So long a busy server is waited for, in all."""
SHORTEST_WAIT_SECONDS = 1.0
"""Also where a server names no time, or a moment that is past: patience has to run out."""
BUSY = {httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE}
START_SECONDS = 120.0
STOP_SECONDS = 30.0


class ServerUnavailable(Unavailable):
    """No server answers, and none could be started."""

    code = "server_unavailable"


class Refused(IbidError):
    """The server refused a request; the message is its own sentence."""

    code = "refused"


class WhichCollection(Invalid):
    """No collection was named, and there is not exactly one."""

    code = "which_collection"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is and the key to it."""

    url: str
    key: str


@contextmanager
def connect() -> Iterator[httpx.Client]:
    """A client of the server in force; one started for this command is stopped at the end of the block."""
    settings = Settings()
    found = _named() or _running(settings)
    if found is not None:
        with _client(found) as client:
            yield client
        return
    with _started(settings) as address, _client(address) as client:
        yield client


def print_json(found: Any) -> None:  # noqa: ANN401 - whatever the API gave
    """Print the API's own object, for programs and for people."""
    json.dump(found, sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def json_of(response: httpx.Response) -> Any:  # noqa: ANN401 - whatever JSON the API sends
    """The response's JSON, or the server's own sentence as `Refused`."""
    if response.is_success:
        return response.json() if response.content else None
    problem = problem_of(response)
    raise Refused(f"{problem['detail']} [{problem['code']}]")


def problem_of(response: httpx.Response) -> dict[str, Any]:
    """What a refusal says: `detail` and `code` at least, also where something else than the API has answered."""
    response.read()
    told: dict[str, Any] = {"detail": response.reason_phrase, "code": response.status_code}
    with suppress(ValueError):  # not JSON: the status says what is known
        told |= response.json()
    return told


def patiently(send: Callable[[], httpx.Response], tell: Callable[[str], object]) -> httpx.Response:
    """The response; while the server is busy and says for how long (Retry-After), asked again after that."""
    waited = 0.0
    while True:
        response = send()
        wait = _retry_after(response)
        if wait is None or waited + wait > PATIENCE_SECONDS:
            return response
        tell(f"The server is busy; trying again in {wait:.0f} s.")
        time.sleep(wait)
        waited += wait


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds, at least one; None unless a busy server names them. It may also name a moment (RFC 9110)."""
    given = response.headers.get("Retry-After", "")
    if response.status_code not in BUSY or not given:
        return None
    try:
        wait = float(given) if given.isdecimal() else parsedate_to_datetime(given).timestamp() - time.time()
    except ValueError:
        return None
    return max(SHORTEST_WAIT_SECONDS, wait)


def pages(
    client: httpx.Client, path: str, params: Mapping[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Every entry of a list, page after page."""
    after: dict[str, Any] = {}
    while True:
        page = json_of(client.get(path, params={**(params or {}), **after}))
        yield from page["data"]
        if not page["next"]:
            return
        after = {"after": page["next"]}


def only_collection(client: httpx.Client) -> str:
    """The one collection there is; raises `WhichCollection` if there is none or a choice."""
    found = list(pages(client, "/v1/collections"))
    if len(found) == 1:
        return str(found[0]["id"])
    if not found:
        raise WhichCollection("There is no collection yet. `ibid ingest PATH` makes one.")
    raise WhichCollection(f"Say which collection, with -c: {', '.join(one['name'] for one in found)}.")


def describe_running(settings: Settings) -> tuple[bool, str]:
    """Whether the server of this data directory is ready, and the same in words; waits for nothing."""
    address = _left(settings)
    if address is None:
        return False, "none runs here; `ibid serve` starts one"
    try:
        response = httpx.get(f"{address.url}/readyz", timeout=5)
    except httpx.HTTPError:
        return False, f"none answers at {address.url}; `ibid serve` starts one"
    if response.is_success:
        return True, f"ready at {address.url}"
    return False, f"at {address.url}, not ready: {response.json()['detail']}"


def _client(address: Address) -> httpx.Client:
    return httpx.Client(
        base_url=address.url,
        headers={"Authorization": f"Bearer {address.key}"},
        timeout=httpx.Timeout(300, connect=5),
    )


def _named() -> Address | None:
    url = os.environ.get("IBID_URL")
    if not url:
        return None
    key = os.environ.get("IBID_API_KEY", "")
    if not key:
        raise ServerUnavailable("IBID_URL is set but IBID_API_KEY is not. Set it to a key of that server.")
    return Address(url.rstrip("/"), key)


def _running(settings: Settings) -> Address | None:
    """The server that left its address in the data directory, if it still answers."""
    address = _left(settings)
    if address is None:
        return None
    try:
        httpx.get(f"{address.url}/healthz", timeout=5).raise_for_status()
    except httpx.HTTPError:
        return None
    return _await_ready(address, time.monotonic() + START_SECONDS)


@contextmanager
def _started(settings: Settings) -> Iterator[Address]:
    """A server of our own on a free port, for as long as the block lasts."""
    url = f"http://127.0.0.1:{(port := _free_port())}"
    environment = os.environ | {"IBID_PORT": str(port), "IBID_HOST": "127.0.0.1", "IBID_LOG_LEVEL": "WARNING"}
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = settings.data_dir / "command-server.log"
    with _private(log) as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "ibid.cli", "serve"], env=environment, stdout=output, stderr=output
        )
    try:
        yield _await_own(settings, process, url, log)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def _private(path: Path) -> BinaryIO:
    """The file, to append to, readable to its owner only: a first start prints the admin key into it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.fchmod(descriptor, 0o600)  # an earlier version may have made it readable to all
    return os.fdopen(descriptor, "ab")


def _await_own(settings: Settings, process: subprocess.Popen[bytes], url: str, log: Path) -> Address:
    """The address that the server we started leaves in the data directory, once it is ready."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ServerUnavailable(f"No server runs here and one could not be started; {log} says why.")
        left = _left(settings)
        if left is not None and left.url == url:
            return _await_ready(left, deadline)
        time.sleep(0.1)
    raise ServerUnavailable(f"The server did not start within {START_SECONDS:.0f} s; {log} may say why.")


def _left(settings: Settings) -> Address | None:
    try:
        values = json.loads(settings.key_file.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return Address(values["url"], values["key"])


def _await_ready(address: Address, deadline: float) -> Address:
    while True:
        try:
            if httpx.get(f"{address.url}/readyz", timeout=5).is_success:
                return address
        except httpx.HTTPError:
            pass  # not listening yet; the deadline decides
        if time.monotonic() > deadline:
            raise ServerUnavailable(
                f"The server at {address.url} does not become ready; GET /readyz says what is missing."
            )
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
