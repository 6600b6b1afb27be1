"""A sentence-transformers model's way from tokens to vectors as one call into the library.

Layer by layer, a question takes the interpreter's lock some 130 times, and each time waits for whatever thread computes
in the process. Beside one that takes in uploads that was measured at 79 ms for a question, and at 13 as one call; with
nobody beside it at 9 and 6.5.
"""

import importlib
import logging
import warnings
from collections.abc import Callable
from typing import Any

Features = dict[str, Any]
VECTORS = "sentence_embedding"
# Of two lengths, so that the trace has seen padding.
EXAMPLES = ["What is it?", "How long is the notice period that both of them agreed on?"]
CHECKS = [["a"], ["Who?", " ".join(EXAMPLES), EXAMPLES[0]]]
TOLERANCE = 1e-5
# What the tracing of a model's own code may raise; it works as it is then.
UNTRACEABLE = (RuntimeError, TypeError, ValueError, LookupError, AttributeError, AssertionError)

logger = logging.getLogger(__name__)


class OneCall:
    """The forward pass of a model for texts, traced for each task ("query", "document") when that is first needed.

    Vectors are those that the model gives layer by layer: they are compared when the trace is made, and a model whose
    trace gives others (its code decides by what it reads) goes on layer by layer, as the log then says. Not for threads
    at once.
    """

    def __init__(self, model: Any) -> None:  # noqa: ANN401 - the vendor's type stays in here
        self._model = model
        self._by_layer: Callable[..., Features] = model.forward
        self._graphs: dict[str | None, Callable[[Features], Any] | None] = {}

    def __call__(self, features: Features, task: str | None = None) -> Features:
        """The features with the vectors of their texts, shape (texts, dimensions), not normalised yet."""
        if task not in self._graphs:
            self._graphs[task] = self._traced(task)
        graph = self._graphs[task]
        if graph is None:
            return self._by_layer(features, task=task)
        return features | {VECTORS: graph(features)}

    def _traced(self, task: str | None) -> Callable[[Features], Any] | None:
        torch = importlib.import_module("torch")
        examples = self._features(EXAMPLES, task)
        names = [name for name, value in examples.items() if isinstance(value, torch.Tensor)]
        rest = {name: value for name, value in examples.items() if name not in names}

        def forward(*tensors: Any) -> Any:  # noqa: ANN401 - a trace takes tensors by position and nothing else
            return self._by_layer(rest | dict(zip(names, tensors, strict=True)), task=task)[VECTORS]

        self._model.requires_grad_(requires_grad=False)  # or its weights may not be constants of a trace
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what a trace takes for constant: `_differs` finds out
                graph = torch.jit.trace(forward, tuple(examples[name] for name in names), check_trace=False)
        except UNTRACEABLE as error:
            logger.info("this encoder cannot be traced and works layer by layer: %s", error)
            return None

        def vectors(features: Features) -> Any:  # noqa: ANN401 - the vendor's tensor
            return graph(*(features[name] for name in names))

        if any(self._differs(vectors, texts, task) for texts in CHECKS):
            logger.info("this encoder's trace gives other vectors, so it works layer by layer")
            return None
        return vectors

    def _features(self, texts: list[str], task: str | None) -> Features:
        found: Features = self._model.preprocess(texts, task=task)
        return found

    def _differs(self, vectors: Callable[[Features], Any], texts: list[str], task: str | None) -> bool:
        features = self._features(texts, task)
        wanted = self._by_layer(dict(features), task=task)[VECTORS]
        return bool((vectors(features) - wanted).abs().max() > TOLERANCE)
