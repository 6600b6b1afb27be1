"""What searches find: nDCG@10 on SciFact and the gold page among five hits on Contoso, fused and by each leg alone."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

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
from ibid.vectors.port import HybridQuery, PointHit, PointRef, VectorReader
from retrieval.kit import Kit
from retrieval.search import LARGEST_LIMIT, search

LegName = Literal["dense", "sparse"]
LEGS: tuple[LegName, ...] = ("dense", "sparse")
NDCG = nDCG @ 10
GOLD_AMONG = 5
FOUND = Success @ GOLD_AMONG


@dataclass(frozen=True, slots=True)
class Leg:
    """A store whose searches give one leg's own ranking, read off the scores that every fused hit carries."""

    store: VectorReader
    leg: LegName

    def search(self, generation: str, query: HybridQuery) -> list[PointHit]:
        """The leg's best points first: all that it brought to the fusion, down to the limit."""
        whole = replace(query, limit=2 * query.candidates, offset=0)
        found = [(hit, getattr(hit, self.leg)) for hit in self.store.search(generation, whole)]
        scored = [(hit, score) for hit, score in found if score is not None]
        scored.sort(key=lambda pair: (-pair[1], pair[0].id))
        return [hit for hit, _ in scored[query.offset : query.offset + query.limit]]

    def count(self, generation: str, *, version_id: str | None = None, document_id: str | None = None) -> int:
        """As the store says."""
        return self.store.count(generation, version_id=version_id, document_id=document_id)

    def scan(
        self, generation: str, *, batch: int = 1000, after: str | None = None
    ) -> Iterator[list[PointRef]]:
        """As the store says."""
        return self.store.scan(generation, batch=batch, after=after)

    def generations(self) -> set[str]:
        """As the store says."""
        return self.store.generations()


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
            _ranked(one, "scifact", data.queries, LARGEST_LIMIT, _document),
            note,
        )
        for name, one in _ways(kit)
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
        _row(f"Contoso, {name}", FOUND, judged, _ranked(one, COLLECTION, questions, GOLD_AMONG, _page), note)
        for name, one in _ways(kit)
    ]


def _ways(kit: Kit) -> list[tuple[str, Kit]]:
    """As readers search, and by each half of that alone."""
    return [
        ("both legs fused", kit),
        *((f"{leg} leg alone", replace(kit, vectors=Leg(kit.vectors, leg))) for leg in LEGS),
    ]


def _ranked(
    kit: Kit, collection: str, queries: Mapping[str, str], limit: int, what: Callable[[Hit], str]
) -> list[ScoredDoc]:
    """What each query finds, best first; of several hits in one thing the first counts."""
    found = []
    for key, query in queries.items():
        hits = search(kit, ADMIN, collection, query, limit).hits
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
