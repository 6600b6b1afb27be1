"""Where a new generation lies on a Qdrant server: what is in memory, on how many shards, and how often.

All of it is said once, when its collection is made. One that exists stays as it was made, and is searched alike.
"""

from dataclasses import dataclass
from typing import Self

from qdrant_client import models

from ibid.settings import Settings
from ibid.vectors.layout import (
    BUILD_EF,
    DENSE,
    FULL_SCAN,
    IN_VIEW,
    KEYWORDS,
    LINKS,
    NUMBERS,
    OVERSAMPLING,
    SPARSE,
    TOGETHER,
)

# As the embedded engine is asked for the nearest of a compacted shard; a collection without 8-bit vectors or a graph
# takes no notice.
APPROXIMATE = models.SearchParams(
    hnsw_ef=IN_VIEW,
    quantization=models.QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING),
)
EXACT = models.SearchParams(exact=True)

# What every search filters by. All else is asked now and then, and may be read from the disk.
_ALWAYS_ASKED = ("access", "live_from", "live_to")


@dataclass(frozen=True, slots=True)
class Placement:
    """How collections are made. `large` is for a million points and more, `shards` 0 leaves their number to the server."""

    large: bool = False
    sparse_on_disk: bool = False
    shards: int = 0
    replicas: int = 1

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """As the settings say."""
        return cls(
            settings.qdrant_preset == "large",
            settings.qdrant_sparse_on_disk,
            settings.qdrant_shards,
            settings.qdrant_replicas,
        )

    @property
    def shard_number(self) -> int | None:
        """How many shards are asked for."""
        return self.shards or None

    @property
    def replication_factor(self) -> int | None:
        """How many copies of each shard are asked for."""
        return self.replicas if self.replicas > 1 else None

    @property
    def write_consistency_factor(self) -> int | None:
        """How many copies must have a write. Reads ask a majority, so a majority makes that they see it."""
        return self.replicas // 2 + 1 if self.replicas > 1 else None

    def dense(self, dimensions: int) -> dict[str, models.VectorParams]:
        """Vectors of the encoder: the originals are read only to compute the scores of what the 8-bit ones proposed.

        No quantile is cut off: that would lose more of the nearest than finer steps win (docs/scaling.md).
        `on_disk` and `always_ram` are understood by servers of every release, `memory` only by the newest.
        """
        vectors = models.VectorParams(size=dimensions, distance=models.Distance.COSINE)
        if self.large:
            vectors.on_disk = True
            vectors.hnsw_config = models.HnswConfigDiff(
                m=LINKS, ef_construct=BUILD_EF, full_scan_threshold=FULL_SCAN, on_disk=False
            )
            vectors.quantization_config = models.ScalarQuantization(
                scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, always_ram=True)
            )
        return {DENSE: vectors}

    def sparse(self) -> dict[str, models.SparseVectorParams]:
        """The word index."""
        index = models.SparseIndexParams(on_disk=True) if self.sparse_on_disk else None
        return {SPARSE: models.SparseVectorParams(modifier=models.Modifier.IDF, index=index)}

    def indexes(self) -> dict[str, models.PayloadSchemaType | models.PayloadSchemaParams]:
        """The fields that are filtered by, each with its index."""
        return {field: self._texts(field) for field in KEYWORDS} | {
            field: self._numbers(field) for field in NUMBERS
        }

    def _texts(self, field: str) -> models.PayloadSchemaType | models.PayloadSchemaParams:
        if not self.large:
            return models.PayloadSchemaType.KEYWORD
        return models.KeywordIndexParams(
            type=models.KeywordIndexType.KEYWORD,
            is_tenant=True if field == TOGETHER else None,
            on_disk=field not in _ALWAYS_ASKED,
        )

    def _numbers(self, field: str) -> models.PayloadSchemaType | models.PayloadSchemaParams:
        if not self.large:
            return models.PayloadSchemaType.FLOAT
        return models.FloatIndexParams(type=models.FloatIndexType.FLOAT, on_disk=field not in _ALWAYS_ASKED)
