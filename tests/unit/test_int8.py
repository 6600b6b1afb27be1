"""The 8-bit form of an encoder: made once, near to the model, and made anew when it is damaged. Made for real."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from ibid.embedding import int8, quantising
from ibid.embedding.port import Embedder, EmbedderUnavailable, EmbedderUnknown
from ibid.embedding.registry import load_embedder
from ibid.settings import BUNDLED_EMBEDDER, DEFAULT_EMBEDDER, Settings

pytestmark = pytest.mark.slow

TEXTS = [
    "Employees may carry over five days of vacation into the next year.",
    "Das Flugzeug wird im Windkanal vermessen. 日本語の文章 🦜 naïve",
    "The dental plan covers two cleanings a year, and half the cost of a crown. " * 40,
    "Mice without the receptor showed no inflammation.",
    "Revenue rose by 12% to 3.4 billion.",
]
LOAD = """
import sys
from ibid.embedding.registry import load_embedder
from ibid.settings import Settings
encoder = load_embedder(sys.argv[1], Settings(encoder_dir=sys.argv[2]))
encoder.encode(["a text", "another, longer text"]), encoder.encode_query("a question"), encoder.count_tokens(["a"])
print(encoder.fingerprint, *sorted({"torch", "transformers", "onnx"} & sys.modules.keys()))
"""


def start(cache: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", LOAD, DEFAULT_EMBEDDER, str(cache)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def fp32() -> Embedder:
    return load_embedder(BUNDLED_EMBEDDER, Settings())


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which two processes made it at once."""
    folder = tmp_path_factory.mktemp("encoders")
    both = [start(folder), start(folder)]
    told = [process.communicate(timeout=600) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert told[0] == told[1]
    assert told[0][0].split()[1:] == [], "a process that only loads it has no torch"
    return folder


@pytest.fixture(scope="module")
def encoder(kept: Path) -> Embedder:
    return load_embedder(DEFAULT_EMBEDDER, Settings(encoder_dir=str(kept)))


@pytest.fixture
def place(kept: Path) -> Path:
    (folder,) = (path for path in kept.iterdir() if path.is_dir())
    return folder


def made(place: Path) -> int8.Made:
    found = int8.read(place)
    assert found is not None
    return found


class TestMaking:
    def test_two_processes_at_once_make_one_and_leave_nothing_else(self, kept, place):
        assert {path.name for path in kept.iterdir()} == {place.name, f"{place.name}.lock"}
        assert made(place).description.cosine >= quantising.LEAST_COSINE

    def test_one_that_is_there_is_not_made_again(self, kept, place):
        before = (place / int8.GRAPH).stat().st_mtime_ns
        with ThreadPoolExecutor(2) as threads:
            loaded = list(
                threads.map(
                    lambda _: load_embedder(DEFAULT_EMBEDDER, Settings(encoder_dir=str(kept))), range(2)
                )
            )
        assert loaded[0].fingerprint == loaded[1].fingerprint
        assert (place / int8.GRAPH).stat().st_mtime_ns == before

    def test_a_damaged_one_is_made_anew(self, place, encoder, tmp_path):
        folder = tmp_path / place.name
        folder.mkdir()
        graph = made(place).graph
        int8.write(folder, made(place))
        (folder / int8.GRAPH).write_bytes(graph[: len(graph) // 2])
        again = load_embedder(DEFAULT_EMBEDDER, Settings(encoder_dir=str(tmp_path)))
        assert made(folder).graph == graph
        assert np.array_equal(again.encode(TEXTS), encoder.encode(TEXTS))

    def test_a_model_that_is_not_there(self, tmp_path):
        with pytest.raises(EmbedderUnknown, match="holds its modules"):
            load_embedder("./nowhere@int8", Settings(encoder_dir=str(tmp_path)))

    def test_a_folder_that_cannot_be_written_is_named(self, tmp_path):
        (tmp_path / "taken").touch()
        with pytest.raises(EmbedderUnavailable, match=r"taken.*IBID_ENCODER_DIR"):
            load_embedder(DEFAULT_EMBEDDER, Settings(encoder_dir=str(tmp_path / "taken")))

    def test_a_maker_that_fails_says_why(self, tmp_path):
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "config.json").write_text("{}")
        with pytest.raises(EmbedderUnavailable, match="in full precision"):
            load_embedder(f"{tmp_path / 'model'}@int8", Settings(encoder_dir=str(tmp_path / "made")))
        assert [path.suffix for path in (tmp_path / "made").iterdir()] == [".lock"]


class TestReading:
    @pytest.fixture
    def copy(self, place, tmp_path) -> Path:
        int8.write(tmp_path, made(place))
        assert int8.read(tmp_path) == made(place)
        return tmp_path

    @pytest.mark.parametrize("name", [int8.GRAPH, int8.TOKENIZER, int8.DESCRIPTION])
    def test_a_missing_cut_or_changed_file_is_found(self, copy, name):
        content = (copy / name).read_bytes()
        (copy / name).write_bytes(content[:-1])
        assert int8.read(copy) is None
        (copy / name).write_bytes(
            content.replace(b"384" if name == int8.DESCRIPTION else content[:3], b"385", 1)
        )
        assert int8.read(copy) is None
        (copy / name).unlink()
        assert int8.read(copy) is None

    def test_a_description_of_another_shape_is_found(self, copy):
        for other in ([], {"seal": "x"}, "text"):
            (copy / int8.DESCRIPTION).write_text(json.dumps(other))
            assert int8.read(copy) is None


class TestLikeness:
    def test_tokens_are_counted_as_the_model_counts_them(self, encoder, fp32):
        texts = [*TEXTS, "", " \n", "x" * 5000, *quantising.SAMPLE]
        assert encoder.count_tokens(texts) == fp32.count_tokens(texts)

    def test_vectors_are_near_those_of_the_model(self, encoder, fp32):
        cosines = (encoder.encode(TEXTS) * fp32.encode(TEXTS)).sum(axis=1)
        assert cosines.mean() >= quantising.LEAST_COSINE
        question = "How many vacation days can be carried over?"
        assert float(encoder.encode_query(question) @ fp32.encode_query(question)) >= 0.98

    @pytest.mark.parametrize("factor", [0, -1], ids=["zeros", "turned round"])
    def test_a_bad_one_is_refused(self, place, fp32, factor):
        good = made(place)
        graph = onnx.load_from_string(good.graph)
        scales = [tensor for tensor in graph.graph.initializer if tensor.name.endswith("_scale")]
        for tensor in scales:
            values = onnx.numpy_helper.to_array(tensor) * np.float32(factor)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
        assert scales
        with pytest.raises(EmbedderUnavailable, match="too far from those of the model"):
            quantising.likeness(fp32, replace(good, graph=graph.SerializeToString()))

    def test_another_tokenizer_is_refused(self, place, fp32):
        good = made(place)
        other = json.loads(good.tokenizer)
        other["normalizer"] = None
        with pytest.raises(EmbedderUnavailable, match="other tokens"):
            quantising.likeness(fp32, replace(good, tokenizer=json.dumps(other)))
