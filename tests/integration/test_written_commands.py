"""Every command that the README, the quick start and the page on models show is run as it stands, against a real server."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import ADMIN_KEY, ENDED, PATIENCE, Server, eventually, serving

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Run by `.ci/run` itself, or in need of what no test has: a clone, another index, a Docker engine.
NOT_HERE = ("make ", "cp .env.example .env\ndocker compose")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that has read its sample."""
    with serving(tmp_path_factory.mktemp("documented"), IBID_SAMPLE="true") as running:
        with running.client() as client:

            def read() -> bool:
                documents = client.get("/v1/collections/sample/documents").json()["data"]
                return len(documents) == 6 and all(each["state"] in ENDED for each in documents)

            eventually(read, what="the sample")
        yield running


def blocks(name: str) -> list[str]:
    found = BLOCK.findall((ROOT / name).read_text(encoding="utf-8"))
    return [block for block in found if not block.startswith(NOT_HERE)]


def run(block: str, server: Server) -> str:
    """What the block prints. Only its address, key, interpreter and the model that nobody can download are replaced."""
    here = {
        "http://127.0.0.1:8000": server.url,
        "ibid_…": ADMIN_KEY,
        ".venv/bin/": f"{Path(sys.executable).parent}/",
        "curl -s ": "curl -s --fail-with-body ",
        "sentence-transformers/all-mpnet-base-v2": "hashing",
    }
    for written, meant in here.items():
        block = block.replace(written, meant)
    environment = server.full_environment() | {"IBID_ADMIN_KEY": ADMIN_KEY}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("name", ["README.md", "docs/quick-start.md"])
def test_every_block_runs(name: str, server: Server) -> None:
    printed = {block: run(block, server) for block in blocks(name)}
    assert len(printed) >= 4
    asked = [json.loads(text) for block, text in printed.items() if "/v1/answers " in block]
    assert asked
    for answer in asked:
        assert (answer["status"], answer["sentences"][0]["support"]) == ("completed", "verified")
        assert all(citation["verified"] for citation in answer["citations"])


def test_every_block_about_models_runs(server: Server) -> None:
    printed = {block: run(block, server) for block in blocks("docs/models.md")}
    (added,) = (text for block, text in printed.items() if "models add" in block)
    assert "quick is approved." in added
    assert "openai" in added
    with server.client() as client:
        models = {each["name"]: each["status"] for each in client.get("/v1/catalogue/models").json()["data"]}
        assert models == {"quick": "disabled", "extractive": "approved"}
        (step,) = client.get("/v1/catalogue/route").json()["steps"]
        assert (step["model"], step["longest"]) == ("quick", 500)
        (budget,) = client.get("/v1/budgets").json()["data"]
        assert (budget["usd"], budget["spent_usd"]) == (5.0, 0.0)
