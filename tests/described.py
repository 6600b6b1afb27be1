"""Random metadata and filters that meet often: few keys, and values that look alike across kinds."""

from typing import Any

from hypothesis import strategies as st

from ibid import filters

KEYS = ["a", "b", 'né "e".x']
TEXTS = [
    "",
    "1",
    "true",
    "x",
    "X",
    "é",
    "2026-01-31",
    "2026-02-01",
    "2026-02-01T10:00:00Z",
    "x" * 13,
    "x" * 12,
]
NUMBERS = [0, 1, -1, 1.0, -0.0, 0.1, 1.5, 2026, 2**53 + 1, 1e308, 5e-324]

texts = st.sampled_from(TEXTS) | st.text(
    st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=14
)
numbers = st.sampled_from(NUMBERS) | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
scalars = texts | numbers | st.booleans()
held = (
    scalars
    | st.none()
    | st.sampled_from([10**400, "y" * 513, {"a": 1}])
    | st.lists(scalars | st.none() | st.just([1]), max_size=3)
)
metadata = st.dictionaries(st.sampled_from(KEYS) | st.just("k" * 65), held, max_size=3)


def _comparison(type_: str, value: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"type": st.just(type_), "key": st.sampled_from(KEYS), "value": value})


comparisons = st.one_of(
    *(_comparison(type_, scalars) for type_ in ("eq", "ne")),
    *(_comparison(type_, texts | numbers) for type_ in ("gt", "gte", "lt", "lte")),
    *(_comparison(type_, st.lists(texts | numbers, min_size=1, max_size=3)) for type_ in ("in", "nin")),
).filter(
    lambda given: all(
        filters.facts({"a": value})
        for value in (given["value"] if isinstance(given["value"], list) else [given["value"]])
    )
)
written = st.recursive(
    comparisons,
    lambda inner: st.fixed_dictionaries(
        {"type": st.sampled_from(["and", "or"]), "filters": st.lists(inner, min_size=1, max_size=3)}
    ),
    max_leaves=5,
)
