"""The 8-bit form of a sentence-transformers model: `python -m ibid.embedding.quantising NAME FOLDER`, a child of `int8`.

Its layers are equalised, PyTorch traces them, ONNX Runtime makes 8-bit integers of the weights, and the result is kept
only if it gives nearly the vectors that the model gives. Weights are signed and use 7 of their bits: with 8 the sums of products saturate
where a processor has no VNNI. Unsigned ones of 8 bits take 1.15 times the time on AVX2 and 1.9 times with VNNI.

Tried and left: what ONNX Runtime fuses ahead of time (`onnxruntime.transformers`) finds no attention in this graph, and
is 5 % slower; embeddings in full precision gain 0.0003 of the mean cosine and take twice the memory.
"""

import logging
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from ibid.embedding import folders
from ibid.embedding.equalising import equalise
from ibid.embedding.int8 import Description, Int8Encoder, Made, write
from ibid.embedding.port import Embedder, EmbedderUnavailable
from ibid.embedding.sentence_transformers import SentenceTransformersEmbedder
from ibid.errors import IbidError

LEAST_COSINE: Final = 0.99
"""Mean likeness to the vectors of the model in full precision that is asked for."""
QUANTISED: Final = ["MatMul", "Gemm", "Gather"]
OPSET: Final = 17
SAMPLED_TOKENS: Final = 128
"""Of each sample text, where numbers between the layers are looked at."""
DOCUMENT_PROMPTS: Final = ("document", "passage", "corpus")
"""The prompt that the library puts before documents is the first of these that a model has."""

_NOTHING_MADE: Final = 3
_SENTENCES: Final = (
    "The library opens at nine on weekdays and at ten on Saturdays.",
    "Members may renew a book twice unless somebody else has asked for it.",
    "Lost items are charged at the price of a new copy and a fee of 4.50 euros.",
    "Das Flugzeug wird im Windkanal vermessen; die Ergebnisse liegen im März vor.",
    "Le délai de préavis est de trois mois pour les deux parties.",
    "The dental plan covers two cleanings a year and half the cost of a crown.",
    "Shock waves form at supersonic speed in front of a blunt body.",
    "Mice without the receptor showed no inflammation after 14 days of treatment (p < 0.01).",
    "Reset the controller by holding the button until the light blinks red three times.",
    "Revenue rose by 12% to 3.4 billion, while operating costs fell in every region.",
    "A tenant who leaves before the end of the term owes the rent of the following month.",
    "Section 4.2: the data are kept for thirty days and then erased, backups included.",
    "The volunteer signs in at the desk and wears a badge for as long as the shift lasts.",
    "Statins lower the risk of heart attacks in people with diabetes.",
    "def area(width, height): return width * height",
    "name | quantity | price\nscrew M4 | 200 | 0.05\nbolt M6 | 80 | 0.12",
)
SAMPLE: Final = (
    *_SENTENCES,
    *(" ".join(_SENTENCES[first : first + 5]) for first in range(0, len(_SENTENCES), 3)),
    " ".join(_SENTENCES * 2),
    "vacation",
)
"""Short and long texts of several kinds, on which both are compared."""
QUESTIONS: Final = (
    "How long is the notice period?",
    "What does the dental plan cover?",
    "When does the library open on Saturdays?",
    "do statins help diabetics",
)


class _Pooled(torch.nn.Module):
    """What is traced: from the tokens of one text, shape (1, tokens), to its vector, shape (1, dimensions)."""

    def __init__(self, layers: torch.nn.Module, *, mean: bool) -> None:
        super().__init__()
        self.layers = layers
        self._mean = mean

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Not normalised. One text has no padding, so there is no mask."""
        states: torch.Tensor = self.layers(input_ids=input_ids).last_hidden_state
        return states.mean(dim=1) if self._mean else states[:, 0]


def make(name: str, place: Path) -> float:
    """Write the 8-bit form of the model into the folder; gives its mean cosine to the model in full precision.

    Raises `EmbedderUnavailable` if it is not near enough, or if the model is not of a kind that can be made so.
    """
    reference = SentenceTransformersEmbedder(name)
    library = import_module("sentence_transformers")
    model = library.SentenceTransformer(
        str(folders.find(name)),
        device="cpu",
        local_files_only=True,
        model_kwargs={"attn_implementation": "eager"},
    ).eval()
    described = Description(
        fp32=reference.fingerprint,
        dimensions=reference.dimensions,
        max_seq_length=int(model.get_max_seq_length()),
        query_prompt=_prompt(model.prompts, ("query",)),
        document_prompt=_prompt(model.prompts, DOCUMENT_PROMPTS),
        longest_prompt=max(filter(None, model.prompts.values()), key=len, default=""),
        cosine=0.0,
    )
    pooled = _pooled(model)
    equalise(pooled.layers, partial(_run, pooled, model.tokenizer))
    made = Made(described, _quantised(pooled), model.tokenizer.backend_tokenizer.to_str())
    cosine = likeness(reference, made)
    write(place, replace(made, description=replace(described, cosine=cosine)))
    return cosine


def likeness(reference: Embedder, made: Made) -> float:
    """Mean cosine to the reference's vectors on the sample; raises `EmbedderUnavailable` if that is too little."""
    encoder = Int8Encoder(made, threads=1, question_threads=1)
    if encoder.count_tokens(SAMPLE) != reference.count_tokens(SAMPLE):
        msg = "its tokenizer counts other tokens than the model's."
        raise EmbedderUnavailable(msg)
    with np.errstate(invalid="ignore"):  # a vector of zeros has no direction, which the comparison finds
        texts = (encoder.encode(SAMPLE) * reference.encode(SAMPLE)).sum(axis=1)
        asked = [float(encoder.encode_query(text) @ reference.encode_query(text)) for text in QUESTIONS]
    mean = float(np.mean([*texts, *asked]))
    if not mean >= LEAST_COSINE:  # not a number is not enough either
        msg = f"its vectors are too far from those of the model (mean cosine {mean:.4f}, at least {LEAST_COSINE} is asked)."
        raise EmbedderUnavailable(msg)
    return mean


def _pooled(model: Any) -> _Pooled:  # noqa: ANN401 - the library's type stays in here
    """The layers and the pooling, if they are of the kinds that the 8-bit form has."""
    modules = list(model)
    kinds = [type(module).__name__ for module in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        msg = f"it has modules {', '.join(kinds)}, and only a Transformer with a Pooling can be made so."
        raise EmbedderUnavailable(msg)
    transformer, pooling = modules[:2]
    mode = pooling.pooling_mode
    modes = {mode} if isinstance(mode, str) else set(mode)
    if modes not in ({"mean"}, {"cls"}) or not pooling.include_prompt:
        msg = f"its pooling is {', '.join(sorted(modes))}, and only mean or cls of all tokens can be made so."
        raise EmbedderUnavailable(msg)
    if getattr(transformer, "do_lower_case", False):
        msg = "it puts texts into lower case before its tokenizer does, which the 8-bit form does not."
        raise EmbedderUnavailable(msg)
    return _Pooled(transformer.auto_model, mean=modes == {"mean"}).eval()


def _run(model: _Pooled, tokenizer: Any) -> None:  # noqa: ANN401 - the library's type stays in here
    """Give the model the sample texts."""
    with torch.no_grad():
        for text in SAMPLE:
            tokens = tokenizer(text, truncation=True, max_length=SAMPLED_TOKENS)["input_ids"]
            model(torch.tensor([tokens]))


def _prompt(prompts: dict[str, str], names: Sequence[str]) -> str:
    return next((prompts[name] or "" for name in names if name in prompts), "")


def _quantised(model: _Pooled) -> bytes:
    """The model's graph with 8-bit weights."""
    quantization = import_module("onnxruntime.quantization")
    with tempfile.TemporaryDirectory(prefix="ibid-int8-") as folder:
        exported, quantised = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        torch.onnx.export(
            model,
            (torch.arange(1, 18).reshape(1, 17),),
            str(exported),
            input_names=["input_ids"],
            output_names=["vectors"],
            dynamic_axes={"input_ids": {1: "tokens"}},
            opset_version=OPSET,
            dynamo=False,  # the newer exporter needs two more packages
        )
        quantization.quantize_dynamic(
            str(exported),
            str(quantised),
            op_types_to_quantize=QUANTISED,
            per_channel=True,
            reduce_range=True,
            weight_type=quantization.QuantType.QInt8,
            extra_options={"MatMulConstBOnly": True},
        )
        return quantised.read_bytes()


def main(arguments: Sequence[str]) -> int:
    """Gives the exit status; the last line of the standard error says why nothing was made."""
    warnings.simplefilter("ignore")  # both libraries warn of what does not concern whoever waits
    logging.disable(logging.WARNING)
    name, place = arguments
    try:
        import_module("onnx")
        make(name, Path(place))
    except ModuleNotFoundError as error:
        _say(f"the package {error.name} is not installed. Install it, and try again.")
        return _NOTHING_MADE
    except IbidError as error:
        _say(error.message)
        return _NOTHING_MADE
    return 0


def _say(reason: str) -> None:
    sys.stderr.write(f"{reason}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
