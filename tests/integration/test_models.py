"""Models behind the API: the catalogue, its route, and what happens when a provider fails in each of its ways.

The application is the real one, and a stub speaks a provider's HTTP.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.door import QUESTION, Door, made
from tests.model_stub import USAGE, Play, Stub, model_server, quotes, says
from tests.running import eventually

SENTENCE = "Employees receive 20 days of paid leave each year."
OTHER = "Unused leave is not paid out."
PRICES = {"input_price": 1.0, "output_price": 10.0}
COST = (USAGE["prompt_tokens"] * 1.0 + USAGE["completion_tokens"] * 10.0) / 1_000_000


class House:
    """A service with a collection, and the stub that plays its providers."""

    def __init__(self, door: Door, stub: Stub) -> None:
        self.door, self.stub = door, stub
        self.collection = door.collection()
        door.text(self.collection)
        door.work()

    def model(self, name: str, *plays: Play, **entry: Any) -> None:
        """A model that the stub plays."""
        self.stub.plays[name] = list(plays)
        body = {
            "provider": "openai",
            "model": name,
            "base_url": self.stub.url,
            "status": "approved",
            **PRICES,
            **entry,
        }
        put = self.door.call("PUT", f"/v1/catalogue/models/{name}", json=body)
        assert put.status_code in {200, 201}, put.text

    def route(self, *steps: str | dict[str, Any]) -> None:
        named = [{"model": step} if isinstance(step, str) else step for step in steps]
        put = self.door.call("PUT", "/v1/catalogue/route", json={"steps": named})
        assert put.status_code == 200, put.text

    def ask(self, **asked: Any) -> dict[str, Any]:
        body = {"collection": self.collection, "question": QUESTION, **asked}
        answered = self.door.post("/v1/answers", json=body)
        assert answered.status_code == 200, answered.text
        return dict(answered.json())


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with model_server() as stub, made(tmp_path, model_seconds=1.0) as door:
        yield House(door, stub)


def went(answer: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    return [(each["model"], each["outcome"], each["reason"]) for each in answer["route"]]


class TestAnswering:
    def test_sentences_with_markers(self, house: House) -> None:
        house.model("plain", says(f"{SENTENCE[:-1]} [1]. {OTHER} [1]"))
        answer = house.ask()
        assert (answer["status"], answer["model"]) == ("completed", "plain")
        assert [each["text"] for each in answer["sentences"]] == [SENTENCE, OTHER]
        assert {each["support"] for each in answer["sentences"]} == {"verified"}
        assert {each["quote"] for each in answer["citations"]} == {SENTENCE, OTHER}
        assert went(answer) == [("plain", "answered", None)]

    def test_json_with_quotes(self, house: House) -> None:
        house.model(
            "strict",
            quotes(("Paid leave is 20 days each year.", 1, SENTENCE), (OTHER, 1, OTHER)),
            capabilities=["json_schema"],
        )
        answer = house.ask()
        assert answer["status"] == "completed"
        assert {each["quote"] for each in answer["citations"]} == {SENTENCE, OTHER}
        asked = house.stub.asked("strict")[0]
        assert asked["response_format"]["type"] == "json_schema"

    def test_says_that_the_documents_do_not_hold_it(self, house: House) -> None:
        house.model("plain", says("NO ANSWER"))
        house.model("next", says(SENTENCE))
        house.route("plain", "next")
        answer = house.ask()
        assert (answer["status"], answer["reason"]) == ("refused", "insufficient_evidence")
        assert went(answer) == [("plain", "no_answer", None)]

    def test_tokens_and_cost(self, house: House) -> None:
        house.model("plain", says(SENTENCE))
        answer = house.ask()
        assert answer["usage"] == {
            "input_tokens": USAGE["prompt_tokens"],
            "output_tokens": USAGE["completion_tokens"],
            "cached_tokens": 0,
            "cost_usd": pytest.approx(COST),
        }

    def test_the_key_is_sent_and_never_shown(self, tmp_path: Path) -> None:
        with model_server() as stub:
            keys = {"mine": {"key": "sk-of-a-provider", "base_url": stub.url}}
            with made(tmp_path, provider_keys=keys) as door:
                self.check_keys(House(door, stub))

    def check_keys(self, house: House) -> None:
        house.model("plain", says(SENTENCE), key="mine")
        house.model("keyless", says(SENTENCE), key="yours")
        house.model("elsewhere", says(SENTENCE), key="mine", base_url="http://127.0.0.1:9/v1")
        house.route("keyless", "elsewhere", "plain")
        answer = house.ask()
        assert went(answer) == [
            ("keyless", "passed", "provider_key_missing"),
            ("elsewhere", "passed", "provider_key_missing"),
            ("plain", "answered", None),
        ]
        assert house.stub.keys == ["Bearer sk-of-a-provider"]
        listed = house.door.get("/v1/catalogue/models")
        assert "sk-of-a-provider" not in listed.text + str(answer)

    def test_passages_are_marked_with_a_code_of_their_own(self, house: House) -> None:
        house.model("plain", says(SENTENCE))
        for _ in range(2):
            house.ask()
        first, second = (each["messages"][-1]["content"] for each in house.stub.asked("plain"))
        assert SENTENCE in first
        code = first.split("<passage-")[1].split(" ")[0]
        assert f"</passage-{code}>" in first
        assert code not in second


class TestFaults:
    """Each way in which a provider fails, and that the next model answers."""

    @pytest.mark.parametrize(
        ("play", "fault", "asked"),
        [
            (Play(status=429), "rate_limited", 3),
            (Play(status=500), "unavailable", 3),
            (Play(status=401), "refused", 1),
            (Play(end="hang"), "timeout", 1),
            (Play(("Employees ",), end="hang"), "timeout", 1),
            (Play(("Employees receive",), end="cut"), "cut", 1),
            (Play(()), "empty", 1),
            (Play(("",), end="content_filter"), "refused", 1),
        ],
    )
    def test_the_next_one_answers(self, house: House, play: Play, fault: str, asked: int) -> None:
        house.model("broken", play)
        house.model("sound", says(SENTENCE))
        house.route("broken", "sound")
        answer = house.ask()
        assert (answer["status"], answer["model"]) == ("completed", "sound")
        assert went(answer) == [("broken", "failed", fault), ("sound", "answered", None)]
        assert len(house.stub.asked("broken")) == asked

    @pytest.mark.parametrize("text", ["I'd say 20 days.", '{"answered": true, "sentences": [{"text": 3}]}'])
    def test_json_that_is_none(self, house: House, text: str) -> None:
        house.model("broken", says(text), capabilities=["json_schema"])
        answer = house.ask()
        assert answer["status"] == "completed"
        assert went(answer) == [("broken", "failed", "malformed"), ("extractive", "answered", None)]

    def test_nobody_listens_there(self, tmp_path: Path) -> None:
        with model_server() as stub, made(tmp_path) as door:
            house = House(door, stub)
            house.model("gone", says(SENTENCE), base_url="http://127.0.0.1:9/v1")
            answer = house.ask()
        assert went(answer) == [("gone", "failed", "unavailable"), ("extractive", "answered", None)]

    def test_a_busy_moment_is_waited_out(self, house: House) -> None:
        house.model("busy", Play(status=429), Play(status=503), says(SENTENCE))
        assert went(house.ask()) == [("busy", "answered", None)]

    def test_in_the_middle_the_next_one_goes_on(self, house: House) -> None:
        pieces = (f"{SENTENCE} ", "Unused ", "leave")
        house.model("first", Play(pieces, end="cut"))
        house.model("second", says(f"{SENTENCE} {OTHER}"))
        house.route("first", "second")
        answer = house.ask()
        assert [each["text"] for each in answer["sentences"]] == [SENTENCE, OTHER]
        assert went(answer) == [("first", "failed", "cut"), ("second", "answered", None)]
        told = house.stub.asked("second")[0]["messages"][-1]["content"]
        assert SENTENCE in told.split("<answer-")[1].split("</answer-")[0]
        assert answer["usage"]["output_tokens"] > USAGE["completion_tokens"]

    def test_one_that_fails_again_and_again_is_left_alone_for_a_while(self, tmp_path: Path) -> None:
        with model_server() as stub, made(tmp_path, model_pause_seconds=0.5) as door:
            house = House(door, stub)
            house.model("broken", *[Play(status=500)] * 9, says(SENTENCE))
            for _ in range(3):
                assert went(house.ask())[0] == ("broken", "failed", "unavailable")
            assert went(house.ask())[0] == ("broken", "passed", "circuit_open")
            assert len(stub.asked("broken")) == 9
            eventually(lambda: went(house.ask())[0] == ("broken", "answered", None), what="asked again")

    def test_a_long_pause_is_not_waited_for(self, house: House) -> None:
        house.model("busy", Play(status=429, retry_after="45"))
        assert went(house.ask()) == [("busy", "failed", "rate_limited"), ("extractive", "answered", None)]
        assert len(house.stub.asked("busy")) == 1

    def test_what_the_limit_of_tokens_cuts_off_is_left_out(self, house: House) -> None:
        house.model("short", says(f"{SENTENCE} Unused leave is not", end="length"))
        answer = house.ask()
        assert [each["text"] for each in answer["sentences"]] == [SENTENCE]
        assert went(answer) == [("short", "answered", None)]

    def test_nothing_but_a_beginning(self, house: House) -> None:
        house.model("short", says("Unused leave is not", end="length"))
        assert went(house.ask())[0] == ("short", "failed", "empty")

    def test_a_sentence_that_waits_is_not_shown_twice(self, house: House) -> None:
        odd = "Every employee owns a spaceship on the moon."
        house.model("first", Play((f"{odd} ", "Unused "), end="cut"))
        house.model("second", says(f"{odd} {SENTENCE}"))
        house.route("first", "second")
        texts = [each["text"] for each in house.ask()["sentences"]]
        assert texts == [odd, SENTENCE]

    @pytest.mark.parametrize("end", ["hang", "cut"])
    def test_what_a_broken_call_took_is_counted(self, house: House, end: str) -> None:
        house.model("broken", Play((f"{SENTENCE} ", "Unused leave ", "is "), end=end))
        budget = {"collection": house.collection, "seconds": 3600, "usd": 100.0}
        house.door.post("/v1/budgets", json=budget)
        answer = house.ask()
        assert went(answer)[0][:2] == ("broken", "failed")
        attempt = answer["route"][0]
        assert attempt["input_tokens"] > 300
        assert attempt["output_tokens"] == len(f"{SENTENCE} Unused leave is ".encode()) // 3
        (spent,) = house.door.get("/v1/budgets").json()["data"]
        assert spent["spent_usd"] == pytest.approx(attempt["cost_usd"])
        assert spent["spent_tokens"] == attempt["input_tokens"] + attempt["output_tokens"]

    def test_a_stopped_call_is_over_and_counted(self, house: House) -> None:
        house.model("slow", Play((f"{SENTENCE} ", "Unused"), end="hang"))
        house.model("never", says(SENTENCE))
        house.route("slow", "never")
        with house.door.client.stream(
            "POST",
            "/v1/answers",
            json={"collection": house.collection, "question": QUESTION, "stream": True},
            headers={"Authorization": f"Bearer {house.door.admin}"},
        ) as stream:
            lines = stream.iter_lines()
            created = next(line for line in lines if line.startswith("data:"))
        answer_id = created.split('"id": "')[1].split('"')[0]
        house.door.post(f"/v1/answers/{answer_id}/stop")
        eventually(
            lambda: house.door.get(f"/v1/answers/{answer_id}").json()["status"] == "cancelled", what="stopped"
        )
        eventually(lambda: house.stub.left == ["slow"], what="the provider was left")
        stopped = house.door.get(f"/v1/answers/{answer_id}").json()
        assert went(stopped) == [("slow", "stopped", None)]
        assert stopped["usage"]["input_tokens"] > 300
        assert house.stub.asked("never") == []


class TestTheRouteChanges:
    def test_a_model_is_turned_off_for_the_next_question(self, house: House) -> None:
        house.model("plain", says(SENTENCE))
        assert house.ask()["model"] == "plain"
        switched = house.door.call("PATCH", "/v1/catalogue/models/plain", json={"status": "disabled"})
        assert switched.json()["status"] == "disabled"
        answer = house.ask()
        assert went(answer) == [("plain", "passed", "disabled"), ("extractive", "answered", None)]
        assert answer["usage"]["cost_usd"] == 0

    def test_a_budget_is_spent(self, house: House) -> None:
        house.model("plain", says(SENTENCE), output_tokens=100)
        budget = house.door.post(
            "/v1/budgets", json={"collection": house.collection, "seconds": 3600, "usd": 2.2 * COST}
        ).json()
        assert house.ask()["model"] == "plain"
        spent = house.door.get("/v1/budgets").json()["data"][0]
        assert spent["spent_usd"] == pytest.approx(COST)
        assert spent["spent_tokens"] == USAGE["total_tokens"]
        house.ask()
        answer = house.ask()
        assert went(answer) == [("plain", "passed", "budget_spent"), ("extractive", "answered", None)]
        assert house.door.delete(f"/v1/budgets/{budget['id']}").status_code == 204
        assert house.ask()["model"] == "plain"

    def test_a_collection_with_a_model_of_its_own(self, house: House) -> None:
        house.model("general", says(SENTENCE))
        house.model("legal", says(SENTENCE))
        house.route({"model": "legal", "collections": ["handbook"]}, "general")
        assert house.ask()["model"] == "legal"
        other = house.door.collection("other")
        house.door.text(other)
        house.door.work()
        answer = house.ask(collection=other)
        assert went(answer) == [("legal", "passed", "condition"), ("general", "answered", None)]

    def test_the_asker_names_one(self, house: House) -> None:
        house.model("plain", says(SENTENCE))
        house.model("new", says(SENTENCE), status="candidate", input_price=0.0, output_price=0.0)
        assert house.ask()["model"] == "plain"
        assert house.ask(model="new")["model"] == "new"
        assert house.ask(model="extractive")["model"] == "extractive"


class TestCatalogue:
    def test_put_get_list_delete(self, house: House) -> None:
        house.model("plain", says(SENTENCE), capabilities=["tools", "json_schema"])
        got = house.door.get("/v1/catalogue/models/plain").json()
        assert got["capabilities"] == ["json_schema", "tools"]
        names = [each["name"] for each in house.door.get("/v1/catalogue/models").json()["data"]]
        assert names == ["plain", "extractive"]
        assert house.door.delete("/v1/catalogue/models/plain").status_code == 204
        missing = house.door.get("/v1/catalogue/models/plain")
        assert house.door.code(missing) == (404, "model_not_found")

    def test_the_route_is_shown_as_it_is_in_force(self, house: House) -> None:
        assert house.door.get("/v1/catalogue/route").json()["steps"] is None
        house.model("plain", says(SENTENCE))
        house.route({"model": "plain", "collections": ["handbook"], "needs": ["tools"]})
        (step,) = house.door.get("/v1/catalogue/route").json()["steps"]
        assert step["collections"] == [house.collection]
        assert step["needs"] == ["tools"]

    @pytest.mark.parametrize(
        ("path", "body", "problem"),
        [
            ("models/extractive", {"provider": "openai", "model": "x"}, (409, "model_built_in")),
            ("models/x", {"provider": "oracle", "model": "x"}, (422, "invalid_request")),
            (
                "models/x",
                {"provider": "openai", "model": "x", "base_url": "file:///etc"},
                (422, "invalid_request"),
            ),
            ("models/-x", {"provider": "openai", "model": "x"}, (422, "invalid_request")),
            (
                "models/x",
                {"provider": "openai", "model": "x", "base_url": "http://a:8O80"},
                (422, "bad_model"),
            ),
            ("models/x", {"provider": "openai", "model": "x", "effort": "low"}, (422, "bad_model")),
            ("models/x", {"provider": "openai", "model": "x", "output_tokens": 8192}, (422, "bad_model")),
            ("route", {"steps": [{"model": "none"}]}, (422, "model_unknown")),
            (
                "route",
                {"steps": [{"model": "extractive", "collections": ["no"]}]},
                (404, "collection_not_found"),
            ),
        ],
    )
    def test_what_makes_no_sense_is_refused(
        self, house: House, path: str, body: dict[str, Any], problem: tuple[int, str]
    ) -> None:
        assert house.door.code(house.door.call("PUT", f"/v1/catalogue/{path}", json=body)) == problem

    def test_only_administrators_of_everything(self, house: House) -> None:
        for key in (house.door.key("editor"), house.door.key("admin", [house.collection])):
            for method, path in (("GET", "catalogue/models"), ("GET", "catalogue/route"), ("GET", "budgets")):
                assert house.door.call(method, f"/v1/{path}", key=key).status_code == 403
