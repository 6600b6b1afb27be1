"""Which parser reads which media type. Knowing that loads no parser."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, entry_points, version
from importlib.util import find_spec
from typing import Final, cast

from ibid.media import BY_EXTENSION, PICTURES, TEXT, UnsupportedType
from ingest import canonical
from ingest.parsing.errors import LayoutMissing
from ingest.parsing.port import Parser

FAST: Final = "fast"
"""The layout of PDFs as they are read without an extra: as pdfium orders the words."""
ENTRY_POINTS: Final = "ibid.parsers"
"""Other packages offer parsers here; each entry point names an `Offer`."""


@dataclass(frozen=True, slots=True, eq=False)
class Offer:
    """A parser that can be had: where it is, and its score for each media type it takes (the highest wins).

    `revision` is raised when its output changes; `packages` are those whose versions change its output;
    for the media types in `programs` it starts other programs. Small files of those in `shared` may be read by one
    process one after the other (decision record 0010): no parser written in C or C++ looks at them.
    With a `layout` it reads only where the setting `IBID_PDF_LAYOUT` asks for that one, and only if the `modules`
    that it needs are installed.
    """

    name: str
    target: str
    scores: Mapping[str, int]
    packages: tuple[str, ...] = ()
    revision: int = 1
    programs: frozenset[str] = frozenset()
    shared: frozenset[str] = frozenset()
    layout: str = ""
    modules: tuple[str, ...] = ()

    @property
    def installed(self) -> bool:
        """Whether what it needs is here; nothing is imported to know that."""
        return all(find_spec(module) is not None for module in self.modules)

    def load(self) -> Parser:
        """The parser, importing what it needs."""
        module, _, attribute = self.target.partition(":")
        return cast("Parser", getattr(import_module(module), attribute)())


_LANGUAGES: Final = "py3langid"
"""Tells the languages of what any parser read."""
_OCR: Final = ("rapidocr", "onnxruntime", "opencv-python-headless")
"""Recognises words in pictures; the models come with the first. The extra `ocr` installs them."""
_OCR_REVISION: Final = 1
_PDF: Final = "application/pdf"
_HI_RES: Final = ("unstructured_inference", "unstructured_pytesseract", "pdf2image", "pi_heif")
"""What the extra `hi-res` brings, as modules."""
_BUILT_IN: Final = (
    Offer("pdfium", "ingest.parsing.pdf:PdfParser", {_PDF: 100}, ("pypdfium2",), revision=4),
    Offer(
        "unstructured-hi-res",
        "ingest.parsing.unstructured_pdf:HiResPdfParser",
        {_PDF: 200},
        ("unstructured", "unstructured-inference", "unstructured-pytesseract", "pdf2image", "pypdfium2"),
        programs=frozenset({_PDF}),
        layout="hi_res",
        modules=_HI_RES,
    ),
    Offer("rapidocr", "ingest.parsing.pictures:PictureParser", dict.fromkeys(PICTURES, 100), ("pillow",)),
    Offer(
        "unstructured",
        "ingest.parsing.unstructured:UnstructuredParser",
        {kind.name: 50 for kind in BY_EXTENSION.values() if kind.name not in {_PDF, *PICTURES}},
        (
            "unstructured",
            "charset-normalizer",
            "spacy",
            "en_core_web_sm",
            "pypandoc_binary",
            "python-oxmsg",
            "openpyxl",
        ),
        revision=3,
        programs=frozenset(BY_EXTENSION[ending].name for ending in ("epub", "odt", "org", "rst", "rtf")),
        shared=frozenset({TEXT.name}),
    ),
)


@cache
def offers() -> tuple[Offer, ...]:
    """Ours, and those of installed packages."""
    return (*_BUILT_IN, *(cast("Offer", point.load()) for point in entry_points(group=ENTRY_POINTS)))


def offer_for(media_type: str, layout: str = FAST) -> Offer:
    """The best offer; raises `UnsupportedType`."""
    takers = [
        offer
        for offer in offers()
        if media_type in offer.scores and (not offer.layout or (offer.layout == layout and offer.installed))
    ]
    if not takers:
        message = f"No parser reads files of type {media_type}. Convert the document to PDF or text and upload that."
        raise UnsupportedType(message)
    return max(takers, key=lambda offer: offer.scores[media_type])


def require_layout(layout: str) -> None:
    """Raise `LayoutMissing` unless PDFs can be read with this layout here."""
    if layout != FAST and not any(offer.layout == layout and offer.installed for offer in offers()):
        raise LayoutMissing(
            f"IBID_PDF_LAYOUT is {layout}, and what reads PDFs so is not installed. Install it with "
            "pip install 'ibid[hi-res]', or set IBID_PDF_LAYOUT to fast."
        )


@cache
def parser_for(media_type: str, layout: str = FAST) -> Parser:
    """The parser of the best offer, loaded once; raises `UnsupportedType`."""
    return _loaded(offer_for(media_type, layout))


@cache
def _loaded(offer: Offer) -> Parser:
    return offer.load()


@cache
def parser_fingerprint(media_type: str, layout: str = FAST) -> str:
    """Names everything that decides how a file of this type is read; equal fingerprints give equal texts."""
    offer = offer_for(media_type, layout)
    versions = (f"{package}=={_version(package)}" for package in (*offer.packages, _LANGUAGES))
    return " ".join((f"{offer.name}/{offer.revision}", f"canonical/{canonical.REVISION}", *versions))


@cache
def ocr_installed() -> bool:
    """Whether words in pictures can be recognised here."""
    return find_spec("rapidocr") is not None and find_spec("onnxruntime") is not None


@cache
def ocr_fingerprint() -> str:
    """Names everything that decides what is recognised in a picture."""
    versions = (f"{package}=={_version(package)}" for package in _OCR)
    return " ".join((f"ocr/{_OCR_REVISION}", *versions))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"
