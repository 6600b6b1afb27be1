"""Nothing outside the scope is ever given: random documents, lists, metadata and filters, asked over HTTP and in the past.

The reference is a few lines of Python over what the test itself put in. The engine's filter and SQL say who may see
what, each by itself; here the engine is made blind in half of the examples, and nothing more may be given.
"""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from itertools import product
from string import Formatter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.app import create_app
from ibid import filters
from ibid.clock import new_id, now
from ibid.settings import Settings
from ibid.types import Scope
from ibid.vectors import memory
from retrieval import facets
from retrieval.search import search
from tests.described import KEYS, metadata, written
from tests.door import Door

QUESTION = "How high is the lighthouse?"
PEOPLE = ["user:ann", "user:bob", "group:crew"]
# A stream ends with its job, which here may wait for a worker.
STREAM = "/events"
READING = [
    path
    for path, methods in create_app(Settings()).openapi()["paths"].items()
    if "get" in methods and not path.endswith(STREAM)
]


@dataclass(frozen=True)
class Document:
    """What is put in: `replaced` has a second version, `deleted` is gone again."""

    meta: dict[str, Any]
    access: list[str] | None
    replaced: bool
    deleted: bool
    redescribed: dict[str, Any] | None


@dataclass
class World:
    """The documents by name in one collection, and when they were as they had come."""

    collection: str
    documents: dict[str, Document]
    ids: dict[str, str] = field(default_factory=dict)
    before: datetime | None = None

    def seen(self, principals: frozenset[str] | None, given_: dict[str, Any] | None) -> set[str]:
        """Names of the documents that a search may give."""
        wanted = None if given_ is None else filters.parse(given_)
        return {
            name
            for name, each in self.documents.items()
            if not each.deleted
            and (principals is None or each.access is None or principals & set(each.access))
            and (wanted is None or filters.matches(wanted, self.meta(name)))
        }

    def meta(self, name: str) -> dict[str, Any]:
        each = self.documents[name]
        return each.meta if each.redescribed is None else each.redescribed


documents = st.builds(
    Document,
    metadata,
    st.none() | st.lists(st.sampled_from(PEOPLE), max_size=2, unique=True),
    st.booleans(),
    st.sampled_from([False, False, True]),
    st.none() | metadata,
)
asked = st.none() | written


@pytest.fixture(scope="module")
def app_key(door: Door) -> str:
    return door.key("reader", may_act_for=True)


def furnished(door: Door, given_: list[Document]) -> World:
    world = World(door.collection(new_id("c")), {f"d{n}.txt": each for n, each in enumerate(given_)})
    for name, each in world.documents.items():
        described = {"metadata": each.meta, "access": each.access}
        made_ = door.text(world.collection, f"The lighthouse of {name} is 30 meters high.", name, **described)
        world.ids[name] = made_["id"]
    door.work()
    world.before = now()
    for name, each in world.documents.items():
        if each.replaced:
            door.text(world.collection, f"The lighthouse of {name} is 40 meters high.", name)
        if each.redescribed is not None:
            path = f"/v1/documents/{world.ids[name]}/metadata"
            assert door.call("PUT", path, json={"metadata": each.redescribed}).status_code == 200
    for name, each in world.documents.items():
        if each.deleted:
            door.delete(f"/v1/documents/{world.ids[name]}")
    return world


def facets_meant(world: World, names: set[str], key: str) -> Counter[str]:
    return Counter(
        json.dumps(fact.value)
        for name in names
        for fact in filters.facts(world.meta(name))
        if fact.key == key
    )


@settings(
    deadline=None,
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.lists(documents, min_size=2, max_size=5),
    st.lists(asked, min_size=2, max_size=3),
    st.booleans(),
    st.booleans(),
)
def test_nothing_outside_the_scope_is_given(
    door: Door,
    app_key: str,
    given_: list[Document],
    filters_: list[dict[str, Any] | None],
    worked: bool,
    blind: bool,
) -> None:
    """Also before a worker has brought to the points what changed: then the second versions are not live yet."""
    world = furnished(door, given_)
    if worked:
        door.work()
    with blinded() if blind else nullcontext():
        asked_of(door, world, app_key, filters_, worked=worked)
    for user in ("ann", "bob"):
        routes_are_silent(door, world, app_key, user)


@contextmanager
def blinded() -> Iterator[None]:
    """The engine proposes whatever it has, of any time, document and principal."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(memory, "_visible", lambda payload, wanted: True)
        yield


def routes_are_silent(door: Door, world: World, app_key: str, user: str) -> None:
    """No route that reads tells of a document that the user may not see, by its id or in a list.

    That one which the user could see was deleted stays in the list of jobs.
    """
    principals = frozenset({f"user:{user}"})
    seen = world.seen(principals, None)
    never = [
        world.ids[name]
        for name, each in world.documents.items()
        if each.access is not None and not principals & set(each.access)
    ]
    of_these = {"limit": 200, "collection": world.collection}
    jobs = [job["id"] for job in door.get("/v1/jobs", params=of_these).json()["data"]]
    hidden = [world.ids[name] for name in world.documents.keys() - seen]
    ids = {"document_id": hidden, "job_id": jobs, "collection": [world.collection], "number": ["1"]}
    for path in READING:
        names = [name for _, name, _, _ in Formatter().parse(path) if name]
        if not ids.keys() >= set(names):
            continue
        for values in product(*(ids[name] for name in names)):
            where = path.format(**dict(zip(names, values, strict=True)))
            response = door.get(where, key=app_key, headers={"Ibid-User": user}, params={"against": "1"})
            if "document_id" in names:
                assert response.status_code == 404, where
            elif "job_id" not in names or response.status_code == 200:
                assert not [each for each in never if each in response.text], where


def asked_of(
    door: Door, world: World, app_key: str, filters_: list[dict[str, Any] | None], *, worked: bool
) -> None:
    """Searches, facets, explanations and answers, of today and of the past."""
    for wanted in filters_:
        for user in ("ann", "bob"):
            principals = frozenset({f"user:{user}"})
            headers = {"Ibid-User": user}
            body = {"collection": world.collection, "query": QUESTION, "limit": 50, "filters": wanted}
            found = door.post("/v1/search", key=app_key, headers=headers, json=body)
            assert found.status_code == 200, found.text
            hits = found.json()["hits"]
            expected = world.seen(principals, wanted)
            # Points that do not say yet what SQL says may be missing until they do; what is given is always right.
            names = {hit["document"] for hit in hits}
            assert names == expected if worked else names <= expected
            live = {hit["document"]: hit["version"] for hit in hits}
            assert all(live[n] == (2 if worked and world.documents[n].replaced else 1) for n in live)

            body = {"collection": world.collection, "keys": KEYS, "limit": 200, "filters": wanted}
            counted = door.post("/v1/search/facets", key=app_key, headers=headers, json=body).json()
            for facet in counted["facets"]:
                got = Counter({json.dumps(each["value"]): each["count"] for each in facet["values"]})
                assert got == facets_meant(world, expected, facet["key"])
                assert not facet["more"]
        answered(door, world, app_key, wanted)
        explained(door, world, app_key, wanted, worked=worked)
    if worked:
        past(door, world, filters_)


def explained(door: Door, world: World, app_key: str, wanted: dict[str, Any] | None, *, worked: bool) -> None:
    """What may not be seen is not known to an explanation either; of the rest it says whether it is shown, or why not."""
    may_see = world.seen(frozenset({"user:ann"}), None)
    fits = world.seen(frozenset({"user:ann"}), wanted)
    asked_ = {"collection": world.collection, "query": QUESTION, "limit": 50, "filters": wanted}
    for name, document_id in world.ids.items():
        body = asked_ | {"document_id": document_id}
        told = door.post("/v1/search/explain", key=app_key, headers={"Ibid-User": "ann"}, json=body)
        if name not in may_see:
            assert told.status_code == 404
        elif name not in fits:
            assert told.json()["stage"] == "filter"
        elif worked:
            assert told.json()["stage"] == "shown"


def answered(door: Door, world: World, app_key: str, wanted: dict[str, Any] | None) -> None:
    """What is cited, or shown as nearest, is within the scope as well."""
    asked_ = {"collection": world.collection, "question": QUESTION, "filters": wanted}
    answer = door.post("/v1/answers", key=app_key, headers={"Ibid-User": "ann"}, json=asked_).json()
    shown = {each["document"] for each in (*answer["citations"], *answer["nearest"])}
    assert shown <= world.seen(frozenset({"user:ann"}), wanted)
    assert answer["status"] in {"completed", "refused"}


def past(door: Door, world: World, filters_: list[dict[str, Any] | None]) -> None:
    """Every first version was live then; what is said of documents, and who may see them, is what holds today."""
    for given_ in filters_:
        wanted = None if given_ is None else filters.parse(given_)
        for principals in (None, frozenset({"group:crew"})):
            scope = Scope(key_id="key", role="reader", principals=principals, as_of=world.before)
            kit = door.client.app.state.wiring.kit
            found = search(kit, scope, world.collection, QUESTION, 50, filters=wanted)
            expected = world.seen(principals, given_)
            assert {(hit.document, hit.version) for hit in found.hits} == {(name, 1) for name in expected}
            counted = facets.facets(kit, scope, world.collection, ["a"], 200, filters=wanted).facets[0]
            got = Counter({json.dumps(each.value): each.count for each in counted.values})
            assert got == facets_meant(world, expected, "a")
