"""Who comes through the door and from where: sessions of browsers, hosts, origins, and keys that act for users."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from api.app import create_app
from ibid import keys
from ibid.settings import Settings
from tests.door import LEAVE, QUESTION, Door, made

PAGE = {"Origin": "http://localhost:8000"}
COOKIE = "ibid_session_8000"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder = tmp_path_factory.mktemp("visitors")
    with made(folder, cors_origins="https://app.example", allowed_hosts="ibid.example") as door:
        yield door


@pytest.fixture
def door(running: Door) -> Door:
    running.client.cookies.clear()
    return running


def link(door: Door) -> str:
    with door.parts.db.begin() as session:
        return keys.new_link(session)


def sign_in(door: Door, **body: str) -> Response:
    return door.post("/v1/session", json=body, key=None, headers=PAGE)


class TestSession:
    def test_begins_with_a_link(self, door: Door) -> None:
        token = link(door)
        response = sign_in(door, token=token)
        assert (response.status_code, response.content) == (204, b"")
        cookie = response.headers["set-cookie"]
        assert cookie.startswith(f"{COOKIE}=")
        for attribute in ("HttpOnly", "SameSite=strict", "Path=/", "Max-Age=43200"):
            assert attribute in cookie
        assert "Secure" not in cookie
        assert door.get("/v1/session", key=None).json() == {
            "role": "admin",
            "name": "admin",
            "url_ingestion": False,
        }
        assert door.code(sign_in(door, token=token)) == (401, "link_used")

    def test_begins_with_a_key(self, door: Door) -> None:
        assert sign_in(door, api_key=door.key("reader")).status_code == 204
        assert door.get("/v1/session", key=None).json()["role"] == "reader"

    def test_cookie_is_secure_behind_tls(self, door: Door) -> None:
        headers = PAGE | {"X-Forwarded-Proto": "https"}
        response = door.post("/v1/session", json={"token": link(door)}, key=None, headers=headers)
        assert "Secure" in response.headers["set-cookie"]

    @pytest.mark.parametrize("body", [{}, {"token": "a", "api_key": "b"}])
    def test_takes_exactly_one(self, door: Door, body: dict[str, str]) -> None:
        assert door.code(sign_in(door, **body)) == (422, "invalid_request")

    def test_ends(self, door: Door) -> None:
        sign_in(door, token=link(door))
        kept = door.client.cookies[COOKIE]
        assert door.delete("/v1/session", key=None, headers=PAGE).status_code == 204
        door.client.cookies.set(COOKIE, kept)
        assert door.code(door.get("/v1/session", key=None)) == (401, "session_over")

    def test_ends_with_its_key(self, door: Door) -> None:
        key = door.key("reader")
        sign_in(door, api_key=key)
        with door.parts.db.read() as session:
            id_ = keys.holder(session, key).id
        assert door.delete(f"/v1/api-keys/{id_}").status_code == 200
        assert door.get("/v1/session", key=None).status_code == 401

    @pytest.mark.parametrize(
        "headers",
        [{}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "none"}],
    )
    def test_does_not_change_anything_for_other_sites(self, door: Door, headers: dict[str, str]) -> None:
        sign_in(door, token=link(door))
        response = door.post("/v1/collections", json={"name": "a"}, key=None, headers=headers)
        assert door.code(response) == (403, "cross_site")

    @pytest.mark.parametrize("headers", [PAGE, {"Sec-Fetch-Site": "same-origin"}])
    def test_works_from_the_page(self, door: Door, headers: dict[str, str]) -> None:
        sign_in(door, token=link(door))
        response = door.post(
            "/v1/search", json={"collection": "none", "query": "x"}, key=None, headers=headers
        )
        assert door.code(response) == (404, "collection_not_found")


class TestHost:
    @pytest.mark.parametrize(
        "host",
        ["localhost", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST:80", "ibid.example", "ibid.example:443"],
    )
    def test_known_is_answered(self, door: Door, host: str) -> None:
        assert door.get("/healthz", key=None, headers={"Host": host}).status_code == 200

    @pytest.mark.parametrize(
        "host", ["evil.example", "localhost.evil.example", "10.0.0.1", "", "ibid.example.evil"]
    )
    def test_unknown_is_refused_everywhere(self, door: Door, host: str) -> None:
        for path in ("/healthz", "/", "/v1/collections"):
            assert door.code(door.get(path, headers={"Host": host})) == (421, "host_not_allowed")

    def test_any_address_will_do_when_all_are_bound(self) -> None:
        at = TestClient(create_app(Settings(host="0.0.0.0")), base_url="http://10.1.2.3")
        assert at.get("/healthz").status_code == 200
        assert at.get("/healthz", headers={"Host": "evil.example"}).status_code == 421


class TestOrigin:
    @pytest.mark.parametrize(
        "origin", ["http://evil.example", "null", "http://localhost:9999", "https://app.example.evil"]
    )
    def test_foreign_is_refused_even_with_a_key(self, door: Door, origin: str) -> None:
        response = door.get("/v1/collections", headers={"Origin": origin})
        assert door.code(response) == (403, "origin_not_allowed")
        assert "access-control-allow-origin" not in response.headers

    def test_own_is_let_in(self, door: Door) -> None:
        assert door.get("/v1/collections", headers=PAGE).status_code == 200

    def test_allowed_is_let_in_and_told(self, door: Door) -> None:
        origin = {"Origin": "https://app.example"}
        response = door.get("/v1/collections", headers=origin)
        assert response.headers["access-control-allow-origin"] == "https://app.example"
        asked = origin | {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization",
        }
        before = door.call("OPTIONS", "/v1/collections", key=None, headers=asked)
        assert before.status_code == 200
        assert before.headers["access-control-allow-origin"] == "https://app.example"


@pytest.fixture(scope="module")
def agent(running: Door) -> str:
    return running.key("editor", may_act_for=True)


@pytest.fixture(scope="module")
def collection(running: Door) -> str:
    made = running.collection()
    running.text(made, access=["user:ann", "group:staff"])
    running.text(made, "Lunch is served at noon.", "lunch.txt")
    running.work()
    return made


class TestActingFor:
    def names(self, door: Door, collection: str, key: str, **headers: str) -> set[str]:
        page = door.get(f"/v1/collections/{collection}/documents", key=key, headers=headers)
        return {document["name"] for document in page.json()["data"]}

    def test_user_and_groups_see_what_is_theirs(self, door: Door, collection: str, agent: str) -> None:
        both, lunch = {"leave.txt", "lunch.txt"}, {"lunch.txt"}
        assert self.names(door, collection, agent) == lunch
        assert self.names(door, collection, agent, **{"Ibid-User": "ann"}) == both
        assert self.names(door, collection, agent, **{"Ibid-User": "bob"}) == lunch
        assert self.names(door, collection, agent, **{"Ibid-User": "bob", "Ibid-Groups": "x, staff"}) == both
        assert self.names(door, collection, door.admin) == both

    def test_search_and_answers_too(self, door: Door, collection: str, agent: str) -> None:
        def asked(user: str) -> tuple[Any, Any]:
            headers = {"Ibid-User": user}
            search = {"collection": collection, "query": QUESTION}
            found = door.post("/v1/search", json=search, key=agent, headers=headers).json()
            question = {"collection": collection, "question": QUESTION}
            return found, door.post("/v1/answers", json=question, key=agent, headers=headers).json()

        found, answer = asked("ann")
        assert found["hits"][0]["text"] == LEAVE.strip()
        assert answer["citations"][0]["quote"] in LEAVE
        found, answer = asked("bob")
        assert all(hit["document"] == "lunch.txt" for hit in found["hits"])
        assert "20 days" not in str(answer)

    def test_answer_belongs_to_its_user(self, door: Door, collection: str, agent: str) -> None:
        question = {"collection": collection, "question": QUESTION}
        ann, bob = {"Ibid-User": "ann"}, {"Ibid-User": "bob"}
        answer = door.post("/v1/answers", json=question, key=agent, headers=ann).json()
        assert door.get(f"/v1/answers/{answer['id']}", key=agent, headers=ann).status_code == 200
        for path in ("", "/events"):
            response = door.get(f"/v1/answers/{answer['id']}{path}", key=agent, headers=bob)
            assert door.code(response) == (404, "answer_not_found")

    def test_is_for_keys_that_may(self, door: Door) -> None:
        for headers in ({"Ibid-User": "ann"}, {"Ibid-Groups": "staff"}):
            response = door.get("/v1/collections", headers=headers)
            assert door.code(response) == (403, "may_not_act_for")

    @pytest.mark.parametrize(
        "headers", [{"Ibid-Groups": "staff"}, {"Ibid-User": "x" * 300}, {"Ibid-User": " "}]
    )
    def test_needs_a_user(self, door: Door, agent: str, headers: dict[str, str]) -> None:
        assert door.code(door.get("/v1/collections", key=agent, headers=headers)) == (422, "bad_principal")

    def test_audit_names_the_user(self, door: Door, collection: str, agent: str) -> None:
        name = "jürgen".encode()
        body = {"collection": collection, "query": QUESTION}
        response = door.post(
            "/v1/search", json=body, key=agent, headers={"Ibid-User": name, "X-Request-Id": "r-1"}
        )
        assert response.headers["x-request-id"] == "r-1"
        row = door.get("/v1/audit?action=search").json()["data"][0]
        assert (row["actor"], row["request_id"]) == ("user:jürgen", "r-1")


class TestRequestId:
    @pytest.mark.parametrize("given", ["a b", "x" * 65, "<script>", ""])
    def test_of_another_shape_is_replaced(self, door: Door, given: str) -> None:
        shown = door.get("/healthz", headers={"X-Request-Id": given}).headers["x-request-id"]
        assert shown != given
        assert len(shown) == 32


class TestReference:
    @pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
    def test_is_for_this_machine_and_for_keys(self, door: Door, path: str) -> None:
        assert door.get(path, key=None).status_code == 200
        through_a_proxy = {"X-Forwarded-For": "203.0.113.9"}
        assert door.code(door.get(path, key=None, headers=through_a_proxy)) == (401, "key_missing")
        far = TestClient(door.client.app, base_url="http://localhost:8000", client=("203.0.113.9", 1))
        assert far.get(path).status_code == 401
        assert far.get(path, headers={"Authorization": f"Bearer {door.admin}"}).status_code == 200

    def test_needs_nothing_from_elsewhere(self, door: Door) -> None:
        shown = door.get("/docs", key=None).text
        assert "POST /v1/collections/{collection}/documents" in shown
        assert "<script" not in shown
        assert "http" not in shown.replace("HTTP", "")


class TestSafeHeaders:
    @pytest.mark.parametrize("path", ["/", "/healthz", "/v1/collections", "/v1/nothing"])
    def test_are_on_every_reply(self, door: Door, path: str) -> None:
        headers = door.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        for rule in ("default-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "object-src 'none'"):
            assert rule in headers["content-security-policy"]

    def test_data_is_not_kept_by_caches(self, door: Door) -> None:
        assert door.get("/v1/collections").headers["cache-control"] == "no-store"
