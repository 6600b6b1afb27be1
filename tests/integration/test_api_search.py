"""Searching over HTTP: presets and knobs, and why something was not shown."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.door import LEAVE, QUESTION, Door, made

BOB = {"Ibid-User": "bob"}


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with made(tmp_path_factory.mktemp("search")) as door:
        collection = door.collection()
        door.text(collection)
        door.text(collection, "The canteen opens at eight.", "canteen.txt", metadata={"team": "kitchen"})
        door.text(collection, "The vault opens at night.", "vault.txt", access=["user:ann"])
        door.work()
        yield door


def searched(door: Door, **more: Any) -> dict[str, Any]:
    reply = door.post("/v1/search", json={"collection": "handbook", "query": QUESTION, **more})
    assert reply.status_code == 200, reply.text
    return dict(reply.json())


def document(door: Door, name: str) -> str:
    listed = door.get("/v1/collections/handbook/documents").json()["data"]
    (id_,) = (each["id"] for each in listed if each["name"] == name)
    return str(id_)


def why(door: Door, name: str, *, key: str = "", headers: dict[str, str] | None = None, **more: Any) -> Any:
    body = {"collection": "handbook", "query": QUESTION, "document_id": document(door, name), **more}
    return door.post("/v1/search/explain", json=body, key=key, headers=headers or {})


def test_minus_zero_and_zero_are_one_value_of_a_facet(door: Door) -> None:
    collection = door.collection("zeros")
    for name, degrees in (("one.txt", -0.0), ("two.txt", 0.0)):
        door.text(collection, "Water freezes.", name, metadata={"degrees": degrees})
    door.work()
    body = {"collection": collection, "keys": ["degrees"]}
    (facet,) = door.post("/v1/search/facets", json=body).json()["facets"]
    assert [(str(each["value"]), each["count"]) for each in facet["values"]] == [("0.0", 2)]


def test_a_passage_is_a_slice_of_the_text(door: Door) -> None:
    best = searched(door)["hits"][0]
    assert best["document"] == "leave.txt"
    assert best["text"] == LEAVE[best["start"] : best["end"]]


def test_the_plan_is_shown_with_the_knobs_that_were_turned(door: Door) -> None:
    assert searched(door)["plan"]["candidates"] == 100
    turned = searched(door, preset="thorough", knobs={"dense_weight": 0.25})["plan"]
    assert (turned["candidates"], turned["dense_weight"]) == (400, 0.25)
    assert searched(door, preset="fast")["plan"]["passage_chunks"] == 1


def test_what_a_question_says_exactly_is_shown_and_quoted_words_must_be_there(door: Door) -> None:
    asked = 'Does "the canteen opens at" 8 on 3 May in room B-12?'
    found = searched(door, query=asked)
    assert found["analysis"] == {
        "phrases": ["the canteen opens at"],
        "identifiers": ["b-12"],
        "numbers": [{"value": "8", "unit": ""}],
        "dates": [{"year": None, "month": 5, "day": 3}],
    }
    assert {hit["document"] for hit in found["hits"]} == {"canteen.txt"}
    assert len(searched(door, query=asked, knobs={"quoted": False})["hits"]) > 1
    reply = why(door, "leave.txt", query=asked)
    assert reply.json()["stage"] == "quoted"


def test_passages_fit_the_budget_that_is_asked_for(door: Door) -> None:
    assert len(searched(door, knobs={"max_tokens": 1})["hits"]) == 1


@pytest.mark.parametrize(
    "knobs",
    [{"candidates": 0}, {"candidates": 1001}, {"dense_weight": 1.1}, {"nearby_weight": -1}, {"colour": 1}],
)
def test_knobs_that_cannot_be_turned_so(door: Door, knobs: dict[str, float]) -> None:
    asked = {"collection": "handbook", "query": QUESTION, "knobs": knobs}
    assert door.post("/v1/search", json=asked).status_code == 422


def test_why_something_is_shown(door: Door) -> None:
    shown = why(door, "leave.txt", sentence="Employees receive 20 days of paid leave each year.").json()
    assert (shown["stage"], shown["passage_rank"], shown["version"]) == ("shown", 1, 1)


def test_why_something_is_not_shown(door: Door) -> None:
    assert why(door, "leave.txt", sentence="Forty days of leave.").json()["stage"] == "not_parsed"
    filters = {"type": "eq", "key": "team", "value": "HR"}
    assert why(door, "canteen.txt", filters=filters).json()["stage"] == "filter"
    assert why(door, "canteen.txt", limit=1).json()["stage"] == "fusion"


def test_an_administrator_is_told_what_somebody_may_not_see(door: Door) -> None:
    key = door.key("admin", may_act_for=True)
    told = why(door, "vault.txt", key=key, headers=BOB).json()
    assert told["stage"] == "access"
    assert "night" not in str(told)


def test_others_are_not(door: Door) -> None:
    agent = door.key("reader", may_act_for=True)
    refused = why(door, "vault.txt", key=agent, headers=BOB)
    assert door.code(refused) == (404, "document_not_found")
    unknown = {"collection": "handbook", "query": QUESTION, "document_id": "doc_none"}
    same = door.post("/v1/search/explain", json=unknown, key=agent, headers=BOB)
    assert door.code(same) == (404, "document_not_found")


def test_a_document_of_another_collection_is_not_found(door: Door) -> None:
    door.collection("elsewhere")
    asked = {"collection": "elsewhere", "query": QUESTION, "document_id": document(door, "leave.txt")}
    assert door.code(door.post("/v1/search/explain", json=asked)) == (404, "document_not_found")
