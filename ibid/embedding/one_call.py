"""A sentence-transformers model's way from tokens to vectors as one call into the library.

Layer by layer, a question takes the interpreter's lock some 130 times, and each time waits for whatever thread computes
in the process. Beside one that computes all the time that was measured at 97 ms for a question, and at 20 as one call;
with nobody beside it at 14.5 and 12.5. Imported when an encoder is loaded, since the library takes seconds.
"""

import importlib
import logging
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Features = dict[str, Any]
VECTORS = "sentence_embedding"
# Of two lengths, so that the trace has seen padding.
EXAMPLES = ["What is it?", "How long is the notice period that both of them agreed on?"]
LONGEST = 512
"""Words of the longest text for which vectors are compared: as many tokens as a chunk has."""
CHECKS = [["a"], ["Who?", " ".join(EXAMPLES), EXAMPLES[0]], ["notice " * LONGEST], ["x", "notice " * 40]]
TOLERANCE = 1e-5
# What the tracing of a model's own code may raise, and a trace that is given another shape; it works as it is then.
UNTRACEABLE = (RuntimeError, TypeError, ValueError, LookupError, AttributeError, AssertionError)
MOST = 16
"""Traces that a process makes. 10 MB of each stay when its encoder is let go, and a pool may load encoders in turn."""
# Python's filter of warnings is one for all threads.
_tracing = threading.Lock()
_traces = count()

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Graph:
    """A trace: tensors of these names go in, beside `rest`, which is a constant of it."""

    run: Callable[..., torch.Tensor]
    names: tuple[str, ...]
    rest: Features

    def takes(self, features: Features) -> bool:
        """Whether the features are like those of the trace: nothing more, nothing less, and no other constant."""
        others = {name: value for name, value in features.items() if name not in self.names}
        return others == self.rest and all(name in features for name in self.names)

    def vectors(self, features: Features) -> torch.Tensor:
        """Shape (texts, dimensions)."""
        return self.run(*(features[name] for name in self.names))


class _Forward(torch.nn.Module):
    """What is traced, from tensors by position to vectors. It holds the layers: a mere function's are never freed."""

    def __init__(self, layers: Iterable[torch.nn.Module], run: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(layers)
        self._run = run

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        """Shape (texts, dimensions)."""
        return self._run(*tensors)


class OneCall:
    """The forward pass of a model for texts, traced for each task ("query", "document") when that is first needed.

    A trace is used if it gave the vectors of the layers for a few texts, short and long, alone and together. A model
    whose code decides otherwise by what it reads goes on layer by layer, as the log then says, and so does whatever is
    not like the examples. Not for threads at once.
    """

    def __init__(self, model: "SentenceTransformer") -> None:
        self._model = model
        self._by_layer: Callable[..., Features] = model.forward
        self._graphs: dict[str | None, _Graph | None] = {}

    def __call__(self, features: Features, task: str | None = None) -> Features:
        """The features with the vectors of their texts, shape (texts, dimensions), not normalised yet."""
        if task not in self._graphs:
            self._graphs[task] = self._graph(task)
        graph = self._graphs[task]
        if graph is None or not graph.takes(features):
            return self._by_layer(features, task=task)
        return features | {VECTORS: graph.vectors(features)}

    def _graph(self, task: str | None) -> _Graph | None:
        if next(_traces) >= MOST:
            logger.info("%d encoders were traced in this process; this one works layer by layer", MOST)
            return None
        try:
            with _tracing, _silence():
                graph = self._traced(task)
            same = all(self._same(graph, texts, task) for texts in CHECKS)
        except UNTRACEABLE as error:
            logger.info("this encoder cannot be traced and works layer by layer: %s", error)
            return None
        if not same:
            logger.info("this encoder's trace gives other vectors, so it works layer by layer")
        return graph if same else None

    def _traced(self, task: str | None) -> _Graph:
        examples = self._features(EXAMPLES, task)
        names = tuple(name for name, value in examples.items() if isinstance(value, torch.Tensor))
        rest = {name: value for name, value in examples.items() if name not in names}

        def forward(*tensors: torch.Tensor) -> torch.Tensor:
            return self._vectors(rest | dict(zip(names, tensors, strict=True)), task)

        tensors = tuple(examples[name] for name in names)
        trace = torch.jit.trace(  # type: ignore[no-untyped-call]  # the library leaves it without types
            _Forward(self._model, forward).eval(), tensors, check_trace=False
        )
        return _Graph(trace, names, rest)

    def _vectors(self, features: Features, task: str | None) -> torch.Tensor:
        """By the layers."""
        vectors: torch.Tensor = self._by_layer(features, task=task)[VECTORS]
        return vectors

    def _features(self, texts: list[str], task: str | None) -> Features:
        prompt = (self._model.prompts or {}).get(task or "") or None
        found: Features = self._model.preprocess(texts, prompt=prompt, task=task)
        return found

    def _same(self, graph: _Graph, texts: list[str], task: str | None) -> bool:
        features = self._features(texts, task)
        wanted = self._vectors(dict(features), task)
        found = graph.vectors(features)
        return found.shape == wanted.shape and bool(((found - wanted).abs() <= TOLERANCE).all())


@contextmanager
def _silence() -> Iterator[None]:
    """A trace looks at all that a model has, of which the libraries warn; what it takes for constant, `_same` finds out."""
    told = importlib.import_module("transformers").utils.logging
    before = told.get_verbosity()
    told.set_verbosity(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        told.set_verbosity(before)
