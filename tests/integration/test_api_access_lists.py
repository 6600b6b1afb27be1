"""Access lists of collections and documents: who is named as user, group or key sees the thing, for others there is none."""

from dataclasses import dataclass, field
from itertools import count

import pytest
from httpx2 import Response

from ibid import keys
from tests.door import LEAVE, QUESTION, Door

NUMBERS = count()


@dataclass(frozen=True)
class Visitor:
    """Somebody at the door: a key, and headers that say for whom it acts."""

    door: Door
    key: str
    headers: dict[str, str] = field(default_factory=dict)

    def get(self, path: str) -> Response:
        return self.door.get(path, key=self.key, headers=self.headers)

    def post(self, path: str, **body: str) -> Response:
        return self.door.post(path, key=self.key, headers=self.headers, json=body)

    @property
    def id(self) -> str:
        with self.door.parts.db.read() as session:
            return keys.holder(session, self.key).id


@pytest.fixture(scope="module")
def agent(door: Door) -> str:
    return door.key("editor", may_act_for=True)


@dataclass(frozen=True)
class Case:
    """A principal, who is it, and others who are not."""

    principal: str
    named: Visitor
    others: list[Visitor]


@pytest.fixture(scope="module", params=["user", "group", "key"])
def case(request: pytest.FixtureRequest, door: Door, agent: str) -> Case:
    reader, other = Visitor(door, door.key("reader")), Visitor(door, door.key("reader"))
    ann = Visitor(door, agent, {"Ibid-User": "ann"})
    bob = Visitor(door, agent, {"Ibid-User": "bob", "Ibid-Groups": "staff"})
    if request.param == "user":
        return Case("user:ann", ann, [bob, reader])
    if request.param == "group":
        return Case("group:staff", bob, [ann, reader])
    # A user may be called what a key is.
    return Case(f"key:{reader.id}", reader, [other, Visitor(door, agent, {"Ibid-User": reader.id})])


class TestCollection:
    @pytest.fixture
    def collection(self, door: Door, case: Case) -> str:
        id_ = door.collection(f"restricted {next(NUMBERS)}", access=[case.principal])
        door.text(id_)
        door.work()
        return id_

    def test_is_there_for_the_named(self, case: Case, collection: str) -> None:
        assert case.named.get(f"/v1/collections/{collection}").json()["documents"] == 1
        assert collection in case.named.get("/v1/collections").text
        found = case.named.post("/v1/search", collection=collection, query=QUESTION).json()
        assert found["hits"][0]["text"] in LEAVE
        answer = case.named.post("/v1/answers", collection=collection, question=QUESTION).json()
        assert answer["citations"][0]["quote"] in LEAVE

    def test_is_not_there_for_others(self, door: Door, case: Case, collection: str) -> None:
        refused = (404, "collection_not_found")
        for other in case.others:
            assert collection not in other.get("/v1/collections").text
            for path in ("", "/documents"):
                assert door.code(other.get(f"/v1/collections/{collection}{path}")) == refused
            asked = {"collection": collection, "query": QUESTION}
            assert door.code(other.post("/v1/search", **asked)) == refused
            asked = {"collection": collection, "question": QUESTION}
            assert door.code(other.post("/v1/answers", **asked)) == refused


class TestDocument:
    PATHS = ("", "/receipt", "/versions", "/versions/1/text", "/versions/1/original")

    @pytest.fixture
    def collection(self, door: Door) -> str:
        return door.collection(f"open {next(NUMBERS)}")

    @pytest.fixture
    def document(self, door: Door, case: Case, collection: str) -> str:
        id_ = str(door.text(collection, access=[case.principal])["id"])
        door.work()
        return id_

    def test_is_there_for_the_named(self, case: Case, collection: str, document: str) -> None:
        for path in self.PATHS:
            assert case.named.get(f"/v1/documents/{document}{path}").status_code == 200
        assert document in case.named.get(f"/v1/collections/{collection}/documents").text
        found = case.named.post("/v1/search", collection=collection, query=QUESTION).json()
        assert found["hits"][0]["document_id"] == document

    def test_is_not_there_for_others(self, door: Door, case: Case, collection: str, document: str) -> None:
        for other in case.others:
            for path in self.PATHS:
                refusal = door.code(other.get(f"/v1/documents/{document}{path}"))
                assert refusal == (404, "document_not_found")
            assert other.get(f"/v1/collections/{collection}/documents").json()["data"] == []
            assert other.post("/v1/search", collection=collection, query=QUESTION).json()["hits"] == []
            answer = other.post("/v1/answers", collection=collection, question=QUESTION).json()
            assert (answer["status"], answer["citations"], answer["nearest"]) == ("refused", [], [])


class TestActingFor:
    def test_a_user_takes_the_place_of_the_key(self, door: Door, agent: str) -> None:
        itself, ann = Visitor(door, agent), Visitor(door, agent, {"Ibid-User": "ann"})
        collection = door.collection(f"acting {next(NUMBERS)}", access=[f"key:{itself.id}"])
        assert itself.get(f"/v1/collections/{collection}").status_code == 200
        assert door.code(ann.get(f"/v1/collections/{collection}")) == (404, "collection_not_found")
