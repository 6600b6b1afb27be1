"""Ways to search that can be compared, as they are written: a name, and what is different, as in `fused,nearby_weight=0`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Final

from evals.shelf import ADMIN
from ibid.errors import Invalid
from ibid.types import Hit
from retrieval.kit import Kit
from retrieval.plan import BALANCED, PRESETS, Plan
from retrieval.search import search

Run = Callable[[str], Sequence[Hit]]
"""A question to its hits, best first."""

FUSED: Final = "fused"
LEGS: Final[Mapping[str, Plan]] = {
    "dense": Plan(dense_weight=1.0, nearby_weight=0.0),
    "sparse": Plan(dense_weight=0.0, nearby_weight=0.0),
}
WAYS: Final[Mapping[str, Plan]] = {
    FUSED: BALANCED,
    **LEGS,
    **{str(name): plan for name, plan in PRESETS.items()},
}
"""`fused` is the preset `balanced`, by which every reader searches whose collection has no fit; `dense` and `sparse` are each half of it alone."""

_KNOBS: Final = {name: type(value) for name, value in asdict(BALANCED).items() if value is not None}


class WayUnknown(Invalid):
    """No way to search is written like this."""

    code = "way_unknown"


def run(kit: Kit, collection: str, plan: Plan, depth: int) -> Run:
    """Searches of a collection by a plan, each giving `depth` hits at most."""
    return lambda question: search(kit, ADMIN, collection, question, depth, plan=plan).hits


def plan_of(way: str) -> Plan:
    """The plan that is written so. Raises `WayUnknown`."""
    name, *knobs = (part.strip() for part in way.split(","))
    if name not in WAYS:
        raise WayUnknown(f"There is no way to search called {name!r}; there are {', '.join(WAYS)}.")
    turned: dict[str, Any] = dict(map(_turned, knobs))
    return replace(WAYS[name], **turned)


def _turned(written: str) -> tuple[str, float]:
    knob, _, value = (part.strip() for part in written.partition("="))
    if knob not in _KNOBS:
        raise WayUnknown(f"A plan has no {knob!r}; it has {', '.join(_KNOBS)}.")
    try:
        return knob, bool(int(value)) if _KNOBS[knob] is bool else _KNOBS[knob](value)
    except ValueError as error:
        raise WayUnknown(f"{value!r} is no value for {knob}.") from error
