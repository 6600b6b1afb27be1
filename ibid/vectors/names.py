"""Names of generations, and what every store refuses before its engine sees it."""

import re
from collections.abc import Sequence

from ibid.errors import Invalid
from ibid.vectors.errors import GenerationMissing
from ibid.vectors.port import Point

_NAME = re.compile(r"gen_[a-z0-9_]{1,80}")


class GenerationInvalid(Invalid):
    """Not a name of a generation, or points that do not fit into it."""

    code = "generation_invalid"


def checked(generation: str) -> str:
    """The name itself, if it is one: `gen_` and `[a-z0-9_]`, so that it can be a folder or a part of a URL."""
    if not _NAME.fullmatch(generation):
        raise GenerationInvalid(f"{generation[:100]!r} is not the name of a generation.")
    return generation


def is_name(text: str) -> bool:
    """Whether a folder or a collection of this name could be a generation of ours."""
    return _NAME.fullmatch(text) is not None


def check_points(generation: str, points: Sequence[Point], dimensions: int) -> None:
    """Raise `GenerationInvalid` unless every point has vectors of the generation's shape."""
    for point in points:
        if point.dense.shape != (dimensions,):
            raise GenerationInvalid(
                f"A point of shape {point.dense.shape} does not fit into {generation}, which has {dimensions} "
                "dimensions. Make its vectors with the generation's own embedder."
            )


def check_same(generation: str, existing: int, wanted: int) -> None:
    """Raise `GenerationInvalid` when a generation exists with other dimensions than the ones wanted."""
    if existing != wanted:
        raise GenerationInvalid(
            f"{generation} exists with {existing} dimensions, so it cannot be made with {wanted}. "
            "Build a new generation instead."
        )


def missing(generation: str) -> GenerationMissing:
    """The error of a generation that the store does not have."""
    return GenerationMissing(
        f"The vector store has no generation {generation}: it was dropped, or the store was lost. "
        "Run `ibid verify` to rebuild it."
    )
