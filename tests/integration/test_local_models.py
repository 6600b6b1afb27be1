"""A model on this machine, and the shapes of two providers, over real HTTP against llama.cpp's server."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from ibid.catalogue import Entry
from ibid.chat.local import LocalMissing, LocalModel
from ibid.chat.port import Drafted, DraftSentence, ModelFailed, NoAnswer, Prompt, Usage
from ibid.chat.provider import ProviderModel
from ibid.settings import Settings
from ibid.types import Hit, Legs
from retrieval import prompts
from tests.door import QUESTION, made
from tests.running import PATIENCE, eventually

pytestmark = pytest.mark.slow

TINY = Entry(name="tiny", provider="local", model="smollm2", context_tokens=4096, output_tokens=24)
PASSAGE = "Employees receive 20 days of paid leave each year. Unused leave is not paid out."


def prompt(*, quotes: bool = False) -> Prompt:
    hit = Hit(
        "doc", "leave.txt", "ver", 1, "gen", "c", PASSAGE, 0, len(PASSAGE), None, (), 1.0, Legs(1.0, None)
    )
    return prompts.build(QUESTION, [hit], quotes=quotes)


async def drafted(model: LocalModel | ProviderModel, asked: Prompt) -> list[Drafted]:
    """What comes; a model of this size may not get a sentence done within its tokens."""
    found = []
    try:
        async for each in model.draft(asked):
            found.append(each)  # noqa: PERF401 - kept when it fails
    except ModelFailed as error:
        if error.fault not in {"empty", "malformed"}:
            raise
    return found


def child_of(model: LocalModel) -> int:
    assert model._child is not None
    return model._child.pid


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, model_seconds=PATIENCE)


class TestLocalModel:
    def test_drafts_and_says_what_it_took(self, settings: Settings) -> None:
        async def run() -> list[Drafted]:
            model = LocalModel(TINY, settings)
            try:
                return await drafted(model, prompt())
            finally:
                await model.close()

        found = anyio.run(run)
        usage = [each for each in found if isinstance(each, Usage)][-1]
        assert usage.input_tokens > 100
        assert 0 < usage.output_tokens <= TINY.output_tokens

    def test_a_killed_child_is_replaced_and_none_is_left(self, settings: Settings) -> None:
        async def run() -> tuple[int, int]:
            model = LocalModel(TINY, settings)
            try:
                await drafted(model, prompt())
                first = child_of(model)
                psutil.Process(first).kill()
                eventually(
                    lambda: not psutil.pid_exists(first) or model._child.poll() is not None, what="dead"
                )
                await drafted(model, prompt())
                return first, child_of(model)
            finally:
                await model.close()

        first, second = anyio.run(run)
        assert first != second
        assert not psutil.pid_exists(second)

    def test_json_with_quotes(self, settings: Settings) -> None:
        """Its grammar allows nothing else, until it runs out of tokens in the middle."""

        async def run() -> list[Drafted] | str:
            model = LocalModel(replace(TINY, output_tokens=96), settings)
            try:
                return await drafted(model, prompt(quotes=True))
            except ModelFailed as error:
                return error.fault
            finally:
                await model.close()

        found = anyio.run(run)
        assert found == "malformed" or all(
            isinstance(each, DraftSentence | NoAnswer | Usage) for each in found
        )

    @pytest.mark.parametrize("name", ["none.gguf", "../none.gguf", "/etc/passwd"])
    def test_a_file_that_is_not_there(self, settings: Settings, name: str) -> None:
        with pytest.raises(LocalMissing, match="models"):
            LocalModel(replace(TINY, model=name), settings)

    def test_a_file_that_is_no_model(self, settings: Settings) -> None:
        folder = settings.data_dir / "models"
        folder.mkdir()
        (folder / "broken.gguf").write_bytes(b"GGUF and nothing else")

        async def run() -> None:
            model = LocalModel(replace(TINY, model="broken.gguf"), settings)
            try:
                with pytest.raises(ModelFailed, match=r"broken\.gguf"):
                    await drafted(model, prompt())
            finally:
                await model.close()

        anyio.run(run)


KEY = "of-this-test"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of llama.cpp's server, which ends once nobody holds its standard input open."""
    file = LocalModel(TINY, Settings(data_dir=tmp_path_factory.mktemp("data")))._file
    command = [sys.executable, "-m", "ibid.chat.llama_server", str(file), "4096", "2"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as child:
        child.stdin.write(f"{KEY}\n")
        child.stdin.flush()
        yield child.stdout.readline().strip()
        child.stdin.close()
        assert child.wait(PATIENCE) == 0


class TestShapes:
    """llama.cpp speaks OpenAI's chat completions and Anthropic's messages."""

    def ask(self, address: str, provider: str, key: str) -> list[Drafted]:
        base = f"{address}/v1" if provider == "openai" else address
        entry = replace(TINY, provider=provider, model="any", base_url=base)

        async def run() -> list[Drafted]:
            model = ProviderModel(entry, key, PATIENCE)
            try:
                return await drafted(model, prompt())
            finally:
                await model.close()

        return anyio.run(run)

    @pytest.mark.parametrize("provider", ["openai", "anthropic"])
    def test_the_same_model_by_both(self, address: str, provider: str) -> None:
        found = self.ask(address, provider, KEY)
        usage = [each for each in found if isinstance(each, Usage)][-1]
        assert usage.input_tokens > 100
        assert usage.output_tokens > 0

    @pytest.mark.parametrize("provider", ["openai", "anthropic"])
    def test_a_wrong_key_is_refused(self, address: str, provider: str) -> None:
        with pytest.raises(ModelFailed) as refused:
            self.ask(address, provider, "wrong")
        assert refused.value.fault == "refused"


class TestService:
    @pytest.fixture
    def asked(self, tmp_path: Path) -> Iterator[dict[str, Any]]:
        with made(tmp_path, model_seconds=PATIENCE) as door:
            collection = door.collection()
            door.text(collection)
            door.work()
            body = {"provider": "local", "model": "smollm2", "output_tokens": 64, "status": "approved"}
            assert door.call("PUT", "/v1/catalogue/models/tiny", json=body).status_code == 201
            yield door.post("/v1/answers", json={"collection": collection, "question": QUESTION}).json()

    def test_answers_and_every_sentence_is_checked(self, asked: dict[str, Any]) -> None:
        assert asked["route"][0]["model"] == "tiny"
        assert asked["route"][0]["outcome"] in {"answered", "no_answer", "failed"}
        assert asked["status"] in {"completed", "refused"}
        for sentence in asked["sentences"]:
            assert sentence["support"] == "unsupported" or sentence["citations"]
