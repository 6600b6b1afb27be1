"""Words in pictures through RapidOCR: the models of PP-OCRv6, which come with its package, on one thread.

Lines are recognised one by one: in batches they are padded to the longest of them, which takes a third longer and three
times the memory (1 GB instead of 0.3).
"""

from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from rapidocr import RapidOCR
from rapidocr.main import RapidOCRError

from ibid.layout import UNITS
from ingest.canonical import clean
from ingest.parsing.port import Pixels
from ingest.parsing.recognised import RecognisedLine, RecognisedPage

_SIDE: Final = 960
"""Lines are looked for in so many pixels each way at most; they are read in those of the picture itself."""
_LEAST: Final = 0.5
"""A line that is less likely to be right than this is left out."""
_SURE: Final = 0.9
_TALL: Final = 1.5
_ASKED: Final = 3
_PARAMETERS: Final = {
    "EngineConfig.onnxruntime.intra_op_num_threads": 1,
    "EngineConfig.onnxruntime.inter_op_num_threads": 1,
    "Global.log_level": "error",
    "Global.use_preprocess_img": False,
    "Global.use_vertical_padding": False,
    "Det.limit_type": "max",
    "Det.limit_side_len": _SIDE,
    "Rec.rec_batch_num": 1,
}


@dataclass(frozen=True, slots=True, eq=False)
class _Detected:
    """Pieces of a picture that hold a line each, and their corners in pixels, shape (n, 4, 2)."""

    pieces: list[Pixels]
    corners: npt.NDArray[np.float32]


class Recogniser:
    """Reads pictures; its models are loaded when it is made, so that children of this process share them."""

    def __init__(self) -> None:
        self._engine = RapidOCR(params=_PARAMETERS)
        blank = np.full((48, 320, 3), 255, np.uint8)
        self._engine(blank)
        self._engine(blank, use_det=False, use_cls=True, use_rec=True)

    def read(self, number: int, picture: Pixels) -> RecognisedPage:
        """The lines in the picture of a page, whichever way up it is."""
        image, turned = np.ascontiguousarray(picture[:, :, ::-1]), 0
        found = self._detect(image)
        if _lies_down(found):
            image, turned = np.ascontiguousarray(np.rot90(image)), 1
            found = self._detect(image)
        if self._is_upside_down(found):
            image, turned = np.ascontiguousarray(np.rot90(image, 2)), turned + 2
            found = self._detect(image)
        return RecognisedPage(number, self._lines(found, image.shape), turned)

    def _detect(self, image: Pixels) -> _Detected:
        try:
            pieces, found = self._engine.detect_and_crop(image, {})
        except RapidOCRError:  # its way to say that there is no text
            return _Detected([], np.zeros((0, 4, 2), np.float32))
        return _Detected(pieces, np.asarray(found.boxes, np.float32))

    def _is_upside_down(self, found: _Detected) -> bool:
        """Whether most lines look the wrong way up, and the longest of them read better when turned.

        The model that tells was made for pieces of a few letters: it is shown as much of each line.
        """
        if not found.pieces:
            return False
        _, told = self._engine.cls_and_rotate([_middle(piece) for piece in found.pieces])
        votes = Counter(label for label, score in told.cls_res or () if score >= _SURE)
        if votes["180"] <= votes["0"]:
            return False
        longest = sorted(found.pieces, key=lambda piece: -piece.shape[1])[:_ASKED]
        turned = [np.ascontiguousarray(piece[::-1, ::-1]) for piece in longest]
        return self._score(turned) > self._score(longest)

    def _score(self, pieces: list[Pixels]) -> float:
        return float(np.mean(self._engine.recognize_txt(pieces).scores))

    def _lines(self, found: _Detected, shape: tuple[int, ...]) -> tuple[RecognisedLine, ...]:
        if not found.pieces:
            return ()
        read = self._engine.recognize_txt(found.pieces)
        height, width = shape[:2]
        shares = np.clip(found.corners / (width, height), 0.0, 1.0) * UNITS
        low, high = np.rint(shares.min(axis=1)).astype(int), np.rint(shares.max(axis=1)).astype(int)
        made: list[RecognisedLine] = []
        for index, (text, score) in enumerate(zip(read.txts or (), read.scores, strict=True)):
            words = " ".join(clean(text).split())
            if words and score >= _LEAST:
                edges = (*low[index].tolist(), *high[index].tolist())
                made.append(RecognisedLine(words, min(1.0, round(float(score), 3)), *edges))
        return tuple(made)


def _middle(piece: Pixels) -> Pixels:
    """The middle of a line, four times as wide as high at most."""
    height, width = piece.shape[:2]
    left = max(0, (width - 4 * height) // 2)
    return np.ascontiguousarray(piece[:, left : left + 4 * height])


def _lies_down(found: _Detected) -> bool:
    """Whether most lines run up or down the picture."""
    if not found.pieces:
        return False
    size = found.corners.max(axis=1) - found.corners.min(axis=1)
    tall: Any = size[:, 1] >= _TALL * size[:, 0]
    return bool(size[tall, 1].sum() > size[~tall, 0].sum())


@cache
def recogniser() -> Recogniser:
    """The one of this process, loaded once."""
    return Recogniser()
