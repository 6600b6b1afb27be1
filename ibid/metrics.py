"""Measurements for Prometheus: what this process and its worker count, and what SQL knows.

Labels are routes, states, kinds and stages: a bounded number of each, and never a name or a text. Processes of one
tree share a folder (`SHARED`), set before this module is imported; without it each process counts for itself.
"""

import os
import threading
from collections.abc import Iterable, Iterator
from hmac import compare_digest
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
    make_wsgi_app,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ibid.clock import now
from ibid.db.session import Database
from ibid.db.tables import Collection, Delivery, Document, Indexing, Job, Version
from ibid.errors import Invalid, Unavailable
from ibid.types import TERMINAL, JobKind, JobState

MEDIA_TYPE = CONTENT_TYPE_LATEST
SHARED = "PROMETHEUS_MULTIPROC_DIR"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
QUICK = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SLOW = (0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)

REQUESTS = Counter("ibid_http_requests", "HTTP requests answered.", ("method", "route", "status"))
REQUEST_SECONDS = Histogram(
    "ibid_http_request_seconds",
    "Seconds until an HTTP request was answered to its end.",
    ("method", "route"),
    buckets=QUICK,
)
SEARCH_SECONDS = Histogram("ibid_search_seconds", "Seconds of a search that found an end.", buckets=QUICK)
ANSWER_SECONDS = Histogram(
    "ibid_answer_seconds", "Seconds until an answer was complete or refused.", buckets=QUICK
)
STAGE_SECONDS = Histogram(
    "ibid_stage_seconds",
    "Seconds of a stage of ingestion: of a document's own parse, or of a batch's chunks, embeddings and index.",
    ("stage",),
    buckets=SLOW,
)


class MetricsUnprotected(Invalid):
    """A worker's measurements would be open to everybody."""

    code = "metrics_unprotected"


def answered(method: str, route: str, status: int, seconds: float) -> None:
    """Count a request."""
    known = method if method in METHODS else "other"
    REQUESTS.labels(known, route, str(status)).inc()
    REQUEST_SECONDS.labels(known, route).observe(seconds)


def exposition(db: Database) -> bytes:
    """Everything, in the text format of Prometheus: of all processes that share the folder, and of SQL."""
    return generate_latest(_registry(InSql(db)))


def serve(host: str, port: int, token: str | None) -> WSGIServer:
    """Show what this process tree counts at a port of its own, to whoever knows the token; 0 takes a free port."""
    if not token:
        raise MetricsUnprotected(
            "IBID_METRICS_PORT is set without IBID_METRICS_TOKEN, so that everybody could read the port. Set both."
        )
    inner, wanted = make_wsgi_app(_registry()), f"Bearer {token}"

    def guarded(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not compare_digest(environ.get("HTTP_AUTHORIZATION", "").encode(), wanted.encode()):
            start_response("401 Unauthorized", [("WWW-Authenticate", "Bearer")])
            return [b"Send the token of IBID_METRICS_TOKEN as Authorization: Bearer\n"]
        shown: Iterable[bytes] = inner(environ, start_response)
        return shown

    server = make_server(host, port, guarded, _Server, _QuietHandler)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server


class InSql(Collector):
    """What SQL knows. With the database away it says only that."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def describe(self) -> Iterable[Metric]:
        """Nothing, so that registering it asks no database."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Ask afresh."""
        up = GaugeMetricFamily("ibid_database_up", "Whether the database answers.")
        try:
            with self._db.read() as session:
                found = [*_jobs(session), *_holdings(session)]
        except Unavailable:
            up.add_metric((), 0)
            yield up
            return
        up.add_metric((), 1)
        yield up
        yield from found


def _jobs(session: Session) -> Iterator[Metric]:
    moment = now()
    depth = GaugeMetricFamily("ibid_jobs", "Jobs that have not ended.", labels=("state",))
    ended = CounterMetricFamily("ibid_jobs_ended", "Jobs that ended.", labels=("kind", "state"))
    counts = dict.fromkeys((JobState.QUEUED, JobState.RUNNING, JobState.STALLED), 0)
    rows = session.execute(select(Job.kind, Job.state, func.count()).group_by(Job.kind, Job.state)).all()
    found = {(kind, state): count for kind, state, count in rows}
    for (_, state), count in found.items():
        if state not in TERMINAL:
            counts[JobState(state)] += count
    lost = select(func.count()).where(Job.state == JobState.RUNNING, Job.lease_until < moment)
    counts[JobState.STALLED] = session.scalar(lost) or 0
    counts[JobState.RUNNING] -= counts[JobState.STALLED]
    for state, count in counts.items():
        depth.add_metric((state,), count)
    for kind in JobKind:
        for state in sorted(TERMINAL):
            ended.add_metric((kind, state), found.get((kind, state), 0))
    yield depth
    yield ended
    due = select(func.min(Job.not_before)).where(Job.state == JobState.QUEUED, Job.not_before <= moment)
    since = session.scalar(due)
    age = max(0.0, (moment - since).total_seconds()) if since else 0.0
    yield GaugeMetricFamily("ibid_jobs_oldest_waiting_seconds", "How long the oldest due job waits.", age)


def _holdings(session: Session) -> Iterator[Metric]:
    """Counts over all collections. Points are what SQL says the stores hold; `ibid verify` tells whether they do."""
    documents = select(func.count()).where(Document.deleted_at.is_(None))
    searched = (
        select(func.coalesce(func.sum(Indexing.chunks), 0))
        .join(Version, Version.id == Indexing.version_id)
        .join(Collection, Collection.active_generation_id == Indexing.generation_id)
        .where(Version.live_from.is_not(None), Version.live_to.is_(None), Collection.deleted_at.is_(None))
    )
    points = select(func.coalesce(func.sum(Indexing.chunks), 0))
    waiting = select(func.count()).where(Delivery.state == "pending")
    for name, about, query in (
        ("ibid_documents", "Documents that were not deleted.", documents),
        ("ibid_chunks", "Chunks of live versions in active generations.", searched),
        ("ibid_points", "Points of all versions in all generations.", points),
        ("ibid_webhook_deliveries_pending", "Webhooks' messages that wait to be sent.", waiting),
    ):
        yield GaugeMetricFamily(name, about, session.scalar(query) or 0)


def _registry(*more: Collector) -> CollectorRegistry:
    registry = CollectorRegistry()
    if SHARED in os.environ:
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call] # which the library left out
    else:
        registry.register(REGISTRY)
    for collector in more:
        registry.register(collector)
    return registry


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Requests for measurements are not worth a line each."""
