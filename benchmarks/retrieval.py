"""What searches find: nDCG@10 on SciFact and the gold page among five hits on Contoso, fused and by each leg alone."""

from collections.abc import Callable, Mapping, Sequence

import ir_measures
from ir_measures import Qrel, ScoredDoc, Success, nDCG

from benchmarks import scifact
from benchmarks.bench import COLLECTION, Bench, Row
from benchmarks.reading import cut
from benchmarks.shelf import ADMIN, shelve
from ibid.bootstrap import Parts, open_parts
from ibid.chat.registry import ChatModels
from ibid.embedding.registry import EmbedderPool
from ibid.nudge.memory import MemoryNudge
from ibid.types import Hit
from retrieval.kit import Kit
from retrieval.plan import BALANCED, Plan
from retrieval.search import LARGEST_LIMIT, search

NDCG = nDCG @ 10
GOLD_AMONG = 5
FOUND = Success @ GOLD_AMONG


def measure(bench: Bench) -> list[Row]:
    """Both collections in one store of this process, searched by the one function that every reader's search calls."""
    encoders = EmbedderPool(lambda _: bench.encoder)
    parts = open_parts(bench.settings, encoders=encoders, nudge=MemoryNudge())
    try:
        kit = Kit(parts.db, parts.store, encoders, ChatModels(lambda: bench.encoder), bench.settings)
        return [*_scifact(bench, parts, kit), *_contoso(bench, parts, kit)]
    finally:
        parts.close()


def _scifact(bench: Bench, parts: Parts, kit: Kit) -> list[Row]:
    """A document ranks where its best chunk does."""
    data = scifact.sample(scifact.load(), queries=5, others=20) if bench.quick else scifact.load()
    files = ((f"{key}.txt", text.encode()) for key, text in data.corpus.items())
    shelve(parts, "scifact", [(name, cut(bench.encoder, name, text)) for name, text in files], bench.vectors)
    judged = [Qrel(query, f"{document}.txt", grade) for query, document, grade in data.judgements]
    note = f"{len(data.corpus)} documents, {len(data.queries)} queries"
    return [
        _row(
            f"SciFact, {name}",
            NDCG,
            judged,
            _ranked(kit, plan, "scifact", data.queries, LARGEST_LIMIT, _document),
            note,
        )
        for name, plan in _ways()
    ]


def _contoso(bench: Bench, parts: Parts, kit: Kit) -> list[Row]:
    """A question is answered for when one of the first five hits is on a gold page."""
    shelve(
        parts,
        COLLECTION,
        [(name, cut(bench.encoder, name, text)) for name, text in bench.pdfs],
        bench.vectors,
    )
    asked = {
        str(number): one for number, one in enumerate(bench.questions[: bench.some(len(bench.questions), 5)])
    }
    judged = [Qrel(key, f"{file}#{page}", 1) for key, one in asked.items() for file, page in one.pages]
    questions = {key: one.question for key, one in asked.items()}
    note = f"{len(bench.pdfs)} PDFs, {len(asked)} questions"
    return [
        _row(
            f"Contoso, {name}",
            FOUND,
            judged,
            _ranked(kit, plan, COLLECTION, questions, GOLD_AMONG, _page),
            note,
        )
        for name, plan in _ways()
    ]


def _ways() -> list[tuple[str, Plan]]:
    """As readers search, and by each half of that alone."""
    return [
        ("both legs fused", BALANCED),
        ("dense leg alone", Plan(dense_weight=1.0, nearby_weight=0.0)),
        ("sparse leg alone", Plan(dense_weight=0.0, nearby_weight=0.0)),
    ]


def _ranked(
    kit: Kit, plan: Plan, collection: str, queries: Mapping[str, str], limit: int, what: Callable[[Hit], str]
) -> list[ScoredDoc]:
    """What each query finds, best first; of several hits in one thing the first counts."""
    found = []
    for key, query in queries.items():
        hits = search(kit, ADMIN, collection, query, limit, plan=plan).hits
        for rank, name in enumerate(dict.fromkeys(map(what, hits))):
            found.append(ScoredDoc(key, name, -rank))
    return found


def _row(
    name: str, measure_: ir_measures.Measure, judged: Sequence[Qrel], run: Sequence[ScoredDoc], note: str
) -> Row:
    value = ir_measures.calc_aggregate([measure_], judged, run)[measure_]
    return Row("retrieval", name, float(value), _UNITS[measure_], note=note)


_UNITS = {NDCG: "nDCG@10", FOUND: f"hit@{GOLD_AMONG}"}


def _document(hit: Hit) -> str:
    return hit.document


def _page(hit: Hit) -> str:
    return f"{hit.document}#{hit.page}"
