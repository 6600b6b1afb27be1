"""What can be wrong with a document, or happen while it is read. `UnsupportedType` is in `ibid.media`."""

from ibid.errors import Invalid, Unavailable


class Unreadable(Invalid):
    """The file is damaged, or is not what its name says."""

    code = "unreadable"


class Encrypted(Invalid):
    """The file needs a password."""

    code = "encrypted"


class NoText(Invalid):
    """The file was read and holds no words."""

    code = "no_text"


class OcrNotInstalled(Invalid):
    """The file is a picture, and words in pictures cannot be recognised here."""

    code = "ocr_not_installed"


class TimedOut(Invalid):
    """Reading took longer than one document may take."""

    code = "timed_out"


class TooLargeWhenUnpacked(Invalid):
    """A small file that unpacks to more than is accepted."""

    code = "too_large_when_unpacked"


class OutOfMemory(Invalid):
    """Reading needed more memory than one document may take."""

    code = "out_of_memory"


class ParserDied(Invalid):
    """The process that read the document ended without an answer."""

    code = "parser_died"


class ParsersUnavailable(Unavailable):
    """The parse server did not start or was closed; says nothing about a document."""

    code = "parsers_unavailable"


class ParsersKilled(ParsersUnavailable):
    """The parse server was killed while it read a document: most likely from outside, but code in a document could do it."""

    code = "parsers_killed"


class LayoutMissing(Unavailable):
    """A setting asks for a way of reading PDFs that is not installed here."""

    code = "layout_missing"


class SandboxMissing(Unavailable):
    """Parsers can reach the network here, and a setting says that then nothing is parsed."""

    code = "sandbox_missing"
