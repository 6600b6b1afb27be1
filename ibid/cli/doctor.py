"""`ibid doctor`: what is configured, what is reachable, which models load, and what to do about each problem."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sqlalchemy import make_url

from ibid import catalogue, media
from ibid.blobs.registry import open_blobs
from ibid.catalogue import EXTRACTIVE, Entry
from ibid.chat.port import KeyMissing
from ibid.cli import client
from ibid.db import schema
from ibid.db.session import Database
from ibid.embedding.registry import load_embedder
from ibid.errors import IbidError
from ibid.nudge.celery import check_broker
from ibid.settings import Settings
from ibid.vectors.registry import open_store

LOW_DISK = 2 * 1024**3
PARSERS = "ingest.parsing.client:ParseServer"
LAYOUT = "ingest.parsing.registry:require_layout"
RERANKER = "retrieval.reranking:load_reranker"
OCR = "ingest.parsing.registry:ocr_installed"
TRIED = "fees.html"
"""The sample document by which doctor sees whether parsers read."""
OWN_FOLDER = "a folder of the data directory"
OF_COMMANDS = {"IBID_URL", "IBID_API_KEY"}
OF_TESTS = ("IBID_TEST_", "IBID_REQUIRE_")

out = Console(highlight=False)


class Level(StrEnum):
    """How a finding is printed; a problem is what keeps something from working."""

    OK = "[green]ok[/]"
    NOTE = "[yellow]note[/]"
    PROBLEM = "[red]problem[/]"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at, and what to do if it is not fine."""

    name: str
    level: Level
    text: str


def examine() -> int:
    """Print all findings; status 1 if there is a problem."""
    table = Table("what", "", "finding")
    problems = 0
    for finding in _findings(Settings()):
        problems += finding.level is Level.PROBLEM
        table.add_row(finding.name, finding.level, escape(finding.text))
    out.print(table)
    return 1 if problems else 0


def _findings(settings: Settings) -> Iterator[Finding]:
    yield _variables()
    yield _address(settings)
    yield _data_dir(settings)
    yield _try("database", lambda: _database(settings))
    yield _try("broker", lambda: check_broker(settings) if settings.broker_url else OWN_FOLDER)
    yield _try("vectors", lambda: _vectors(settings))
    yield _try("blobs", lambda: _blobs(settings))
    yield _try("embedder", lambda: _embedder(settings))
    yield _try("reranker", lambda: _reranker(settings))
    yield _try("models", lambda: _models(settings))
    yield _try("pdf layout", lambda: _layout(settings))
    yield from _parsers(settings)
    yield _limits(settings)
    yield _server(settings)
    yield _page()


def _try(name: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(name, Level.OK, look())
    except IbidError as error:
        return Finding(name, Level.PROBLEM, error.message)


def _variables() -> Finding:
    """Which settings the environment sets, without their values: some are secrets."""
    given = {name for name in os.environ if name.startswith("IBID_") and not name.startswith(OF_TESTS)}
    settings = {f"IBID_{field.upper()}" for field in Settings.model_fields} | OF_COMMANDS
    if unknown := sorted(given - settings):
        return Finding("settings", Level.PROBLEM, f"no such setting: {', '.join(unknown)}. Correct the name.")
    return Finding("settings", Level.OK, ", ".join(sorted(given)) or "none set; the defaults are in force")


def _address(settings: Settings) -> Finding:
    key = "the key of IBID_ADMIN_KEY" if settings.admin_key else "a key generated at the first start"
    text = f"{settings.host}:{settings.port}, opened by {key}"
    if settings.host in {"127.0.0.1", "::1", "localhost"}:
        return Finding("address", Level.OK, f"{text}; only this machine reaches it")
    return Finding("address", Level.NOTE, f"{text}; others reach it over HTTP: put a TLS proxy before it")


def _data_dir(settings: Settings) -> Finding:
    folder = settings.data_dir.absolute()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    text = f"{folder}, {free / 1024**3:.1f} GiB free"
    if not os.access(existing, os.W_OK):
        return Finding("data", Level.PROBLEM, f"{text}: this user may not write there. Set IBID_DATA_DIR.")
    return (
        Finding("data", Level.OK, text)
        if free > LOW_DISK
        else Finding("data", Level.PROBLEM, f"{text}: make room")
    )


def _database(settings: Settings) -> str:
    url = make_url(settings.sql_url)
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
        return "SQLite; made at the first start"
    db = Database(settings.sql_url)
    try:
        if db.sqlite and schema.current(db) != schema.head():
            return f"{db.url.database}, schema {schema.current(db)}; the next start copies and upgrades it"
        schema.require(db)
        return f"{db.url.render_as_string(hide_password=True)}, schema {schema.current(db)}"
    finally:
        db.dispose()


def _vectors(settings: Settings) -> str:
    if settings.standalone:
        # Its files belong to the process that serves: to open them here would take them from it.
        return "Qdrant Edge in the server's process"
    store = open_store(settings)
    try:
        return f"{settings.qdrant_url}, {len(store.generations())} generations"
    finally:
        store.close()


def _blobs(settings: Settings) -> str:
    if settings.blobs_url:
        open_blobs(settings).exists("doctor/none")
    return settings.blobs_url or OWN_FOLDER


def _embedder(settings: Settings) -> str:
    encoder = load_embedder(settings.embedder, settings)
    return f"{encoder.name} loads, {encoder.dimensions} dimensions, reads {encoder.max_tokens} tokens"


def _reranker(settings: Settings) -> str:
    reranker = resolve_name(RERANKER)(settings)
    if reranker is None:
        return "none"
    reranker.scores("ready", ["ready"])
    return f"{reranker.name} loads"


def _models(settings: Settings) -> str:
    """The models that may be asked; raises `KeyMissing` for keys that the settings lack."""
    entries = [entry for entry in _entries(settings) if entry.status != "disabled"]
    lacking = sorted(
        f"{entry.key} of {entry.name}"
        for entry in entries
        if entry.key and entry.key not in settings.provider_keys
    )
    if lacking:
        raise KeyMissing(
            f"IBID_PROVIDER_KEYS lacks {', '.join(lacking)}. Set it; until then they are passed over."
        )
    return ", ".join(entry.name for entry in entries)


def _entries(settings: Settings) -> list[Entry]:
    """The catalogue; before the first start, and before an upgrade, what every installation has."""
    url = make_url(settings.sql_url)
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
        return [EXTRACTIVE]
    db = Database(settings.sql_url)
    try:
        if schema.current(db) != schema.head():
            return [EXTRACTIVE]
        with db.read() as session:
            return catalogue.entries(session)
    finally:
        db.dispose()


def _layout(settings: Settings) -> str:
    resolve_name(LAYOUT)(settings.pdf_layout)
    return settings.pdf_layout


def _parsers(settings: Settings) -> Iterator[Finding]:
    """Whether a document is read, and from what the process that reads it is kept."""
    readable = ", ".join(sorted({kind.label for kind in media.BY_EXTENSION.values()}))
    server = resolve_name(PARSERS)(settings)
    try:
        with as_file(files("ibid") / "samples" / TRIED) as sample:
            server.parse(sample, TRIED, "text/html")
    except IbidError as error:
        yield Finding("parsers", Level.PROBLEM, error.message)
        return
    finally:
        server.close()
    yield Finding("parsers", Level.OK, f"read {readable}")
    yield _ocr(settings)
    if find_spec("en_core_web_sm") is None:
        rules = "en_core_web_sm is not installed; sentences and verbs are told by rules"
        yield Finding("language", Level.NOTE, rules)
    if server.network_cut:
        yield Finding("sandbox", Level.OK, "parsers cannot reach the network")
    else:
        open_ = "parsers can reach the network: this system does not let a process cut itself off"
        yield Finding("sandbox", Level.NOTE, open_)


def _ocr(settings: Settings) -> Finding:
    """Whether words in pictures are recognised."""
    if not settings.ocr_pages:
        return Finding("ocr", Level.NOTE, "switched off by IBID_OCR_PAGES: pictures are refused")
    if not resolve_name(OCR)():
        install = "not installed: pictures are refused. Install it with pip install 'ibid[ocr]'"
        return Finding("ocr", Level.NOTE, install)
    return Finding("ocr", Level.OK, f"up to {settings.ocr_pages} pages of a document are recognised")


def _limits(settings: Settings) -> Finding:
    text = (
        f"files up to {settings.max_upload_bytes / 1024**2:g} MiB, {settings.parse_seconds:g} s and "
        f"{settings.parse_memory_bytes / 1024**3:g} GiB to parse one; questions up to {settings.max_question_chars} characters"
    )
    return Finding("limits", Level.OK, text)


def _server(settings: Settings) -> Finding:
    ready, text = client.describe_running(settings)
    return Finding("server", Level.OK if ready else Level.NOTE, text)


def _page() -> Finding:
    built = resolve_name("api.routes.page:BUILT")
    if (built / "index.html").is_file():
        return Finding("page", Level.OK, "built")
    return Finding("page", Level.NOTE, "not built: install Node 20.19 or later and run `make web`")
