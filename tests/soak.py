"""The soak: documents pour in, some of them poison, while worker and API are killed and connections are cut at random.

They come as fast as a bounded queue takes them, and the kills are spread over all of them, the last when the last one is
in: so that on a slow machine, too, each meets its share, and what is left after the kills is what a queue may hold.

By hand, in the long form: `python -m tests.soak --documents 2000 --kills 200`, and once more each with
`--distributed rabbitmq` and `--distributed redis`.
`tests/integration/test_soak.py` is the short form.
"""

import argparse
import logging
import random
import subprocess
import tempfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import redis

from tests.running import ENDED, Server, command, end_family, eventually, new_collection, serving
from tests.services import RABBITMQ, REDIS, postgres_database

log = logging.getLogger("soak")

COLLECTIONS = ("alpha", "beta", "gamma")
SENDERS = 3
SETTLE_SECONDS = 60.0
QUICK = {
    "IBID_EMBEDDER": "hashing",
    "IBID_SWEEP_SECONDS": "2",
    "IBID_LEASE_SECONDS": "10",
    "IBID_MAX_QUEUED": "100",
}


def _bomb() -> bytes:
    """A .docx that unpacks to two gigabytes."""
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        with archive.open("word/document.xml", "w", force_zip64=True) as part:
            for _ in range(64):
                part.write(bytes(32 * 2**20))
    return packed.getvalue()


@dataclass(frozen=True)
class Sent:
    """A document, and the code it must fail with; None: it must succeed."""

    collection: str
    name: str
    content: bytes
    code: str | None = None


@dataclass
class Plan:
    """How much of everything. `trouble` are further things to do to the services, drawn like the kills."""

    documents: int
    kills: int
    poison: float = 0.05
    seed: int = 1
    trouble: Sequence[Callable[[], None]] = ()
    every: float = 1.5

    def documents_to_send(self) -> list[Sent]:
        """The documents, poison mixed in."""
        chance = random.Random(self.seed)
        poisons = [
            ("pdf", b"%PDF-1.7\nnothing follows", "unreadable"),
            ("txt", b" \n ", "no_text"),
            ("docx", _bomb(), "too_large_when_unpacked"),
        ]
        sent = []
        for n in range(self.documents):
            collection = chance.choice(COLLECTIONS)
            if n % round(1 / self.poison) == 1:
                ending, content, code = poisons[n // round(1 / self.poison) % len(poisons)]
                sent.append(Sent(collection, f"poison-{n}.{ending}", content, code))
            else:
                text = "\n\n".join(f"Report {n}, part {p}: pump {n * 9 + p} was replaced." for p in range(6))
                sent.append(Sent(collection, f"report-{n}.txt", text.encode()))
        return sent


@dataclass
class Sending:
    """Sends documents, each until it is accepted, under one idempotency key."""

    server: Server
    documents: list[Sent]
    jobs: dict[str, Sent] = field(default_factory=dict)
    stopped: threading.Event = field(default_factory=threading.Event)
    refusals: list[str] = field(default_factory=list)

    def run(self) -> None:
        with self.server.client() as client:
            for sent in self.documents:
                while not self.stopped.is_set() and not self._accepted(client, sent):
                    self.stopped.wait(0.2)

    def _accepted(self, client: httpx.Client, sent: Sent) -> bool:
        try:
            response = client.post(
                f"/v1/collections/{sent.collection}/documents",
                files={"files": (sent.name, sent.content)},
                headers={"Idempotency-Key": sent.name},
            )
        except httpx.TransportError:
            return False
        if response.status_code == 202:
            (entry,) = response.json()["documents"]
            self.jobs[entry["job_id"]] = sent
            return True
        if response.status_code not in {409, 429, 500, 503}:
            self.refusals.append(response.text)
            return True
        if response.status_code == 500:
            self.refusals.append(response.text)
        return False


@dataclass(frozen=True)
class Report:
    """What the soak found; `wrong` is empty if all is as it must be."""

    wrong: tuple[str, ...]
    kills: Counter[str]
    states: Counter[str]
    settled_seconds: float


def soak(server: Server, plan: Plan) -> Report:
    """Send everything while things are killed, let it settle, and compare what is there with what was sent."""
    chance = random.Random(plan.seed)
    documents = plan.documents_to_send()
    with server.client() as client:
        for name in COLLECTIONS:
            new_collection(client, name)
    senders = [Sending(server, documents[n::SENDERS]) for n in range(SENDERS)]
    threads = [threading.Thread(target=sender.run, daemon=True) for sender in senders]
    for thread in threads:
        thread.start()
    try:
        kills = _kill(server, plan, chance, senders)
        last_kill = time.monotonic()
    finally:
        for sender in senders:
            sender.stopped.set()
    jobs = {job_id: sent for sender in senders for job_id, sent in sender.jobs.items()}
    with server.client() as client:
        found = eventually(lambda: _ended(client, len(jobs)), what="the end of all jobs")
        settled = time.monotonic() - last_kill
        wrong = [refusal for sender in senders for refusal in sender.refusals]
        wrong += _compare(client, documents, jobs, {job["id"]: job for job in found})
    if settled > SETTLE_SECONDS:
        wrong.append(f"it took {settled:.0f} s from the last kill to settle")
    return Report(tuple(wrong), kills, Counter(job["state"] for job in found), settled)


def _kill(server: Server, plan: Plan, chance: random.Random, senders: Sequence[Sending]) -> Counter[str]:
    """Kill as often as planned, each when its share of the documents is in; the server is ready at the end."""
    acts: list[tuple[str, Callable[[], None]]] = [
        ("worker", lambda: _kill_one(server, "worker.app", chance)),
        ("parser", lambda: _kill_one(server, "ingest.parsing.server", chance)),
        ("worker and all it started", lambda: _kill_workers(server)),
        ("api", lambda: _kill_server(server)),
        *((trouble.__name__, trouble) for trouble in plan.trouble),
    ]
    weights = [4, 2, 2, 2, *(1 for _ in plan.trouble)]
    pause = senders[0].stopped
    kills: Counter[str] = Counter()
    while kills.total() < plan.kills:
        pause.wait(chance.uniform(0.2, 2 * plan.every))
        share = plan.documents * (kills.total() + 1) // plan.kills
        eventually(lambda share=share: _done(senders) >= share, what=f"{share} documents sent")
        ((name, act),) = chance.choices(acts, weights)
        act()
        kills[name] += 1
        if kills.total() % 20 == 0:
            log.info("%d kills, %d accepted", kills.total(), _done(senders))
    return kills


def _done(senders: Sequence[Sending]) -> int:
    """How many documents were accepted."""
    return sum(len(sender.jobs) + len(sender.refusals) for sender in senders)


def _kill_one(server: Server, marker: str, chance: random.Random) -> None:
    assert server.process is not None
    with suppress(psutil.NoSuchProcess, IndexError):  # none is there at this moment: a kill of nothing
        family = psutil.Process(server.process.pid).children(recursive=True)
        marked = [member for member in family if marker in " ".join(member.cmdline())]
        chance.choice(marked).kill()


def _kill_workers(server: Server) -> None:
    assert server.process is not None
    for member in psutil.Process(server.process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            member.kill()


def _kill_server(server: Server) -> None:
    server.kill()
    server.start()


def _listed(client: httpx.Client, path: str) -> Iterator[dict[str, Any]]:
    after: dict[str, str] = {}
    while True:
        page = client.get(path, params={"limit": "200", **after}).json()
        yield from page["data"]
        if not page["next"]:
            return
        after = {"after": page["next"]}


def _ended(client: httpx.Client, number: int) -> list[dict[str, Any]] | None:
    queue = client.get("/v1/queue").json()
    if queue["queued"] or queue["running"] or queue["stalled"]:
        return None
    found = [job for job in _listed(client, "/v1/jobs") if job["kind"] == "ingest"]
    return found if len(found) >= number and all(job["state"] in ENDED for job in found) else None


def _compare(
    client: httpx.Client, sent: Sequence[Sent], jobs: dict[str, Sent], found: dict[str, dict[str, Any]]
) -> Iterator[str]:
    """Sentences about whatever is not as it must be."""
    if missing := {document.name for document in sent} - {document.name for document in jobs.values()}:
        yield f"never accepted: {sorted(missing)[:5]}"
    if found.keys() != jobs.keys():
        yield f"{len(found)} jobs for {len(jobs)} accepted documents"
    for job_id, document in jobs.items():
        job = found.get(job_id)
        ended = job and (job["state"], job["error"]["code"] if job["error"] else None)
        wanted = ("succeeded", None) if document.code is None else ("failed", document.code)
        if ended != wanted:
            yield f"{document.name} ended as {ended} and not as {wanted}"
    for name in COLLECTIONS:
        listed = list(_listed(client, f"/v1/collections/{name}/documents"))
        expected = sorted(document.name for document in sent if document.collection == name)
        if sorted(entry["name"] for entry in listed) != expected:
            yield f"{name} has {len(listed)} documents and not {len(expected)}"
        if versions := {entry["version"] for entry in listed} - {1}:
            yield f"{name} has versions {versions}"
        verified = client.post(f"/v1/collections/{name}/verify", json={"repair": False}, timeout=300).json()
        for generation in verified["generations"]:
            if generation["orphans"] or generation["gaps"] or generation["points"] != generation["chunks"]:
                yield f"SQL and vectors of {name} differ: {generation}"


@contextmanager
def standalone(folder: Path) -> Iterator[tuple[Server, Sequence[Callable[[], None]]]]:
    """A server on its own, with two workers."""
    with serving(folder, **QUICK, IBID_WORKER_PROCESSES="2") as server:
        yield server, ()


@contextmanager
def distributed(folder: Path, broker: str) -> Iterator[tuple[Server, Sequence[Callable[[], None]]]]:
    """A server over PostgreSQL and a broker, and ways to cut their connections."""
    with ExitStack() as stack:
        url = stack.enter_context(postgres_database())
        environment = {
            **QUICK,
            "IBID_DATABASE_URL": url,
            "IBID_BROKER_URL": broker,
            "IBID_WORKER_PROCESSES": "2",
        }
        upgraded = command("db", "upgrade", **environment, IBID_DATA_DIR=str(folder / "data"))
        assert upgraded.returncode == 0, upgraded.stderr
        server = stack.enter_context(serving(folder, **environment))

        def cut_database() -> None:
            plain = url.replace("postgresql+psycopg://", "postgresql://")
            with psycopg.connect(plain, autocommit=True) as connection:
                connection.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity "
                    "where datname = current_database() and pid <> pg_backend_pid()"
                )

        def cut_broker() -> None:
            if broker.startswith("redis"):
                redis.Redis.from_url(broker).client_kill_filter(_type="normal", skipme=True)
            else:
                subprocess.run(
                    ["rabbitmqctl", "--quiet", "close_all_connections", "soak"],
                    check=True,
                    capture_output=True,
                )

        yield server, (cut_database, cut_broker)


def main() -> None:
    """The long form."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--distributed", choices=["rabbitmq", "redis"])
    asked = parser.parse_args()
    logging.basicConfig(level="INFO", format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel("WARNING")
    with tempfile.TemporaryDirectory() as folder:
        broker = {"rabbitmq": RABBITMQ, "redis": REDIS}.get(asked.distributed)
        place = Path(folder)
        with distributed(place, broker) if broker else standalone(place) as (server, trouble):
            report = soak(server, Plan(asked.documents, asked.kills, seed=asked.seed, trouble=trouble))
            if report.wrong:
                log.error("the server's log: %s", server.log.read_text()[-4000:])
            end_family(server.process)
    log.info("kills: %s", dict(report.kills))
    log.info(
        "ended: %s, all within %.1f s of the last kill",
        dict(report.states),
        report.settled_seconds,
    )
    for sentence in report.wrong:
        log.error("%s", sentence)
    raise SystemExit(1 if report.wrong else 0)


if __name__ == "__main__":
    main()
