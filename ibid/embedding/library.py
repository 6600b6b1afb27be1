"""The sentence-transformers library, imported offline, quiet, and without two seconds of scikit-learn."""

import importlib
import importlib.machinery
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from ibid.embedding import folders

_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
# Threads that wait spin otherwise. With more runnable threads than cores (a worker that embeds, an API process that
# searches) that was measured at 1,020 ms for a question instead of 33, and at 1.9 passages a second instead of 5.
_WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}


def loaded() -> ModuleType:
    """The library; its import takes seconds the first time."""
    for key, value in (_OFFLINE | folders.QUIET | _WAITING).items():
        os.environ.setdefault(key, value)
    with _placeholder_for_sklearn():
        library = importlib.import_module("sentence_transformers")
    importlib.import_module("transformers").utils.logging.disable_progress_bar()
    return library


@contextmanager
def _placeholder_for_sklearn() -> Iterator[None]:
    """While the library is imported, `sklearn.metrics` is an empty stand-in that loads the real one when called.

    The library names one function of it (for a distance that we do not use), and the import of scikit-learn with
    scipy.stats and pandas takes 2.5 of its 8.5 seconds. Afterwards the stand-in is gone, so that whoever needs
    scikit-learn gets it.
    """
    if "sklearn" in sys.modules or "sentence_transformers" in sys.modules:
        yield
        return
    package, metrics = ModuleType("sklearn"), ModuleType("sklearn.metrics")
    for module in (package, metrics):
        module.__spec__ = importlib.machinery.ModuleSpec(module.__name__, None)
    package.__path__ = []
    vars(package)["metrics"] = metrics
    vars(metrics)["pairwise_distances"] = _pairwise_distances
    sys.modules.update({"sklearn": package, "sklearn.metrics": metrics})
    try:
        yield
    finally:
        del sys.modules["sklearn"], sys.modules["sklearn.metrics"]


def _pairwise_distances(*args: object, **kwargs: object) -> object:
    return importlib.import_module("sklearn.metrics").pairwise_distances(*args, **kwargs)
