"""`ibid doctor`: what is configured, what is reachable, which models load, and what to do about each problem."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ibid import media
from ibid.blobs.registry import open_blobs
from ibid.cli import client
from ibid.db import schema
from ibid.db.session import Database
from ibid.embedding.registry import load_embedder
from ibid.errors import IbidError
from ibid.nudge.celery import check_broker
from ibid.settings import Settings
from ibid.vectors.registry import open_store

LOW_DISK = 2 * 1024**3

out = Console(highlight=False)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: fine, or a problem with what to do."""

    name: str
    fine: bool
    text: str


def examine() -> int:
    """Print all findings; status 1 if there is a problem."""
    table = Table("what", "", "finding")
    problems = 0
    for finding in _findings(Settings()):
        problems += not finding.fine
        table.add_row(finding.name, "[green]ok[/]" if finding.fine else "[red]problem[/]", finding.text)
    out.print(table)
    return 1 if problems else 0


def _findings(settings: Settings) -> Iterator[Finding]:
    yield _data_dir(settings)
    yield _try("database", lambda: _database(settings))
    yield _try("broker", lambda: check_broker(settings))
    yield _try("vectors", lambda: _vectors(settings))
    yield _try("blobs", lambda: _blobs(settings))
    yield _try("embedder", lambda: _embedder(settings))
    yield Finding(
        "documents", True, "reads " + ", ".join(sorted({kind.label for kind in media.BY_EXTENSION.values()}))
    )
    yield _try("server", lambda: _server(settings))
    yield _page()


def _try(name: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, look())
    except IbidError as error:
        return Finding(name, False, error.message)


def _data_dir(settings: Settings) -> Finding:
    folder = settings.data_dir.absolute()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    text = f"{folder}, {free / 1024**3:.1f} GiB free"
    return Finding("data", free > LOW_DISK, text if free > LOW_DISK else f"{text}: make room")


def _database(settings: Settings) -> str:
    db = Database(settings.sql_url)
    try:
        if db.sqlite and not Path(str(db.url.database)).exists():
            return "SQLite; made at the first start"
        schema.require(db)
        return f"{db.url.render_as_string(hide_password=True)}, schema {schema.current(db)}"
    finally:
        db.dispose()


def _vectors(settings: Settings) -> str:
    if settings.standalone:
        return "Qdrant Edge in the server's process"
    store = open_store(settings)
    try:
        return f"{settings.qdrant_url}, {len(store.generations())} generations"
    finally:
        store.close()


def _blobs(settings: Settings) -> str:
    open_blobs(settings).exists("doctor/none")
    return settings.blobs_url or "a folder in the data directory"


def _embedder(settings: Settings) -> str:
    encoder = load_embedder(settings.embedder, settings)
    return f"{encoder.name} loads, {encoder.dimensions} dimensions, reads {encoder.max_tokens} tokens"


def _server(settings: Settings) -> str:
    return client.describe_running(settings)


def _page() -> Finding:
    spec = find_spec("api")
    folder = Path(spec.origin or ".").parent.parent / "web" / "dist" if spec else Path("web/dist")
    built = (folder / "index.html").exists()
    return Finding(
        "page", built, "built" if built else "not built: install Node 20 or later and run `make web`"
    )
