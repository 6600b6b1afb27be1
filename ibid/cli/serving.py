"""`ibid serve` and `ibid worker`: the doors are started by name, never imported."""

import fcntl
import gc
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pkgutil import resolve_name
from types import FrameType

import uvicorn
from rich.console import Console

from ibid import claims, keys, logs, sample
from ibid.bootstrap import Parts, open_parts
from ibid.db import schema
from ibid.db.session import Database
from ibid.errors import Conflict
from ibid.settings import Settings

APP = "api.app:create_app"
SUPERVISOR = "worker.supervisor:Supervisor"
WORKER = "worker.app:main"
LAYOUT = "ingest.parsing.registry:require_layout"
METRICS = "PROMETHEUS_MULTIPROC_DIR"
COMMAND_KEY = "command line of the running server"
TURN = 0.0005
"""Seconds after which a thread that computes lets others have the interpreter."""

out = Console(highlight=False, soft_wrap=True)


class AlreadyServing(Conflict):
    """Another server holds this data directory."""

    code = "already_serving"


def serve() -> None:
    """Run until told to stop."""
    # Libraries make a million objects that live as long as the process: looking among them for garbage while they are
    # made takes a fifth of the start. `_warm` lets the collector begin.
    gc.disable()
    # uvicorn raises the signal once more after its own end; by default that would skip all that is to be put away.
    signal.signal(signal.SIGTERM, _leave)
    # A search takes the interpreter's lock dozens of times, for each row that it reads. Beside a thread that takes in
    # uploads it would wait 5 ms each time, by default.
    sys.setswitchinterval(TURN)
    os.umask(0o077)  # the data directory holds keys and everybody's documents; the worker inherits this
    settings = Settings()
    logs.configure(settings.log_level, settings.log_format)
    if _has_worker(settings):
        _require_layout(settings)
    with _locked(settings):
        _share_metrics(settings)
        db = _prepared_database(settings)
        parts = open_parts(settings, db=db)
        # Loading the encoder takes longest, so it begins before everything else.
        threading.Thread(target=_warm, args=(parts,), name="warm-up", daemon=True).start()
        try:
            _serve(parts)
        finally:
            settings.key_file.unlink(missing_ok=True)
            parts.close()


def _share_metrics(settings: Settings) -> None:
    """An empty folder in which this process and its worker count; what ran here before is over."""
    folder = settings.data_dir.absolute() / "metrics"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    os.environ[METRICS] = str(folder)  # read when the counters are imported, with the application


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def run_worker() -> None:
    """Run a worker until told to stop; a database server's tables must be at this version."""
    settings = Settings()
    _require_layout(settings)
    db = Database(settings.sql_url)
    try:
        if not db.sqlite:
            schema.require(db)
    finally:
        db.dispose()
    if not settings.metrics_port:
        resolve_name(WORKER)()
        return
    with tempfile.TemporaryDirectory(prefix="ibid-metrics-") as folder:
        os.environ[METRICS] = folder
        resolve_name(WORKER)()


def _serve(parts: Parts) -> None:
    settings = parts.settings
    _greet(parts)
    app = resolve_name(APP)(settings, parts)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        proxy_headers=False,
    )
    supervisor = None
    if settings.standalone:
        with parts.db.begin() as session:
            claims.hand_back(session)  # a worker dies with its server, and this directory had no other server
    if _has_worker(settings):
        supervisor = resolve_name(SUPERVISOR)(parts, wait_ready=parts.recipe)
        supervisor.start()
    try:
        uvicorn.Server(config).run()
    finally:
        if supervisor is not None:
            supervisor.stop()


def _has_worker(settings: Settings) -> bool:
    """Whether the server starts a worker of its own."""
    return settings.standalone or not settings.broker_url


def _require_layout(settings: Settings) -> None:
    """Raise `LayoutMissing` now, and not of each PDF that comes."""
    if settings.pdf_layout != "fast":
        resolve_name(LAYOUT)(settings.pdf_layout)


def _warm(parts: Parts) -> None:
    try:
        parts.encoders.get(parts.settings.embedder).encode_query("warm-up")
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def _locked(settings: Settings) -> Iterator[None]:
    """The data directory's lock, for as long as this process serves it; the system frees it however we end."""
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (settings.data_dir / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise AlreadyServing(
                f"Another Ibid server (process {file.read().strip() or 'unknown'}) uses {settings.data_dir}. "
                "Use that one, stop it, or set IBID_DATA_DIR to another directory."
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _prepared_database(settings: Settings) -> Database:
    """SQLite is upgraded at every start, after a copy; a server's tables only by `ibid db upgrade`."""
    db = Database(settings.sql_url)
    if db.sqlite:
        copy = schema.upgrade_with_copy(db)
        if copy is not None:
            out.print(f"The database was upgraded; the former one is kept as {copy}.")
    else:
        schema.require(db)
    return db


def _greet(parts: Parts) -> None:
    """Print the admin key once and a one-time link at every start, and leave a key for commands on this machine."""
    settings = parts.settings
    url = f"http://{_shown_host(settings)}:{settings.port}"
    with parts.db.begin() as session:
        made = keys.ensure_admin(session, settings)
        token = keys.new_link(session)
        command_key = keys.replace_command_key(session, COMMAND_KEY)
    _leave_key(settings, url, command_key)
    if made is not None:
        out.print(f"Admin key (shown this once): [bold]{made}[/]")
    if settings.sample:
        sample.create_once(parts)
    out.print(f"Open [bold]{url}/?token={token}[/] (valid once, for 15 minutes)")


def _shown_host(settings: Settings) -> str:
    host = "127.0.0.1" if settings.host in {"0.0.0.0", "::", ""} else settings.host  # noqa: S104 - compared, not bound
    return f"[{host}]" if ":" in host else host


def _leave_key(settings: Settings, url: str, key: str) -> None:
    """Write the 0600 file by which commands find this server; readable to its owner from its first byte on."""
    settings.key_file.unlink(missing_ok=True)
    descriptor = os.open(settings.key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump({"url": url, "key": key}, file)
