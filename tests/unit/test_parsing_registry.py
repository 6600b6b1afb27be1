import os
import subprocess
import sys
from pathlib import Path

import pytest

from ibid.media import BY_EXTENSION, UnsupportedType
from ingest.parsing import registry
from ingest.parsing.errors import LayoutMissing
from ingest.parsing.registry import Offer, offer_for, parser_fingerprint, parser_for, require_layout


@pytest.fixture
def another(monkeypatch: pytest.MonkeyPatch):
    """An offer of an installed package."""

    def offer(score: int) -> Offer:
        made = Offer(
            "other", f"{__name__}:OtherParser", {"application/pdf": score}, ("pytest", "no-such-package")
        )
        monkeypatch.setattr(registry, "offers", lambda: (*registry._BUILT_IN, made))
        parser_for.cache_clear()
        parser_fingerprint.cache_clear()
        return made

    yield offer
    parser_for.cache_clear()
    parser_fingerprint.cache_clear()


class TestOfferFor:
    def test_every_kind_of_upload_has_one(self):
        assert all(offer_for(kind.name) for kind in BY_EXTENSION.values())

    def test_unknown_types_are_refused(self):
        with pytest.raises(UnsupportedType, match="video/mp4"):
            offer_for("video/mp4")

    @pytest.mark.parametrize(("score", "name"), [(101, "other"), (99, "pdfium")])
    def test_the_highest_score_wins(self, another, score: int, name: str):
        another(score)
        assert offer_for("application/pdf").name == name


class TestParserFor:
    def test_loads_once(self):
        assert parser_for("application/pdf") is parser_for("application/pdf")


class TestParserFingerprint:
    def test_names_parser_and_versions(self):
        assert parser_fingerprint("application/pdf").startswith("pdfium/")
        assert "pypdfium2==" in parser_fingerprint("application/pdf")
        assert parser_fingerprint("text/html") != parser_fingerprint("application/pdf")

    def test_tells_a_package_that_is_absent(self, another):
        another(101)
        assert "no-such-package==absent" in parser_fingerprint("application/pdf")

    def test_loads_no_parser(self):
        code = (
            "import sys; from ingest.parsing.registry import parser_fingerprint as f; f('application/pdf'); f('text/html');"
            "print([m for m in sys.modules if m.split('.')[0] in ('unstructured', 'pypdfium2', 'spacy', 'torch')])"
        )
        ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        assert ran.stdout.strip() == "[]"


class TestLayout:
    """The packages of `hi-res` are not installed here: empty ones of their names stand for them where it says so."""

    CODE = (
        "from ingest.parsing.registry import offer_for, parser_fingerprint, require_layout;"
        "require_layout('hi_res');"
        "print(offer_for('application/pdf', 'hi_res').name, offer_for('application/pdf').name,"
        " offer_for('text/html', 'hi_res').name);"
        "print(parser_fingerprint('application/pdf', 'hi_res').split()[0],"
        " parser_fingerprint('application/pdf').split()[0])"
    )

    def run(self, *paths: Path) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(map(str, [Path(__file__).parents[2], *paths]))
        }
        return subprocess.run(
            [sys.executable, "-c", self.CODE], check=False, capture_output=True, text=True, env=environment
        )

    def test_that_is_not_installed_is_refused(self) -> None:
        with pytest.raises(LayoutMissing, match=r"ibid\[hi-res\]"):
            require_layout("hi_res")
        require_layout("fast")
        assert offer_for("application/pdf", "hi_res").name == "pdfium"

    def test_that_is_installed_reads_where_it_is_asked_for(self, tmp_path: Path) -> None:
        for module in registry._HI_RES:
            (tmp_path / module).mkdir()
            (tmp_path / module / "__init__.py").touch()
        ran = self.run(tmp_path)
        assert ran.stdout.splitlines() == [
            "unstructured-hi-res pdfium unstructured",
            "unstructured-hi-res/1 pdfium/4",
        ], ran.stderr

    def test_of_another_package(self, tmp_path: Path) -> None:
        """As Docling would come: an entry point that offers the same layout."""
        (tmp_path / "docling_ibid.py").write_text(
            "from ingest.parsing.registry import Offer\n"
            "OFFER = Offer('docling', 'docling_ibid:Parser', {'application/pdf': 210}, (), layout='hi_res')\n"
        )
        folder = tmp_path / "docling_ibid-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: docling-ibid\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[{registry.ENTRY_POINTS}]\ndocling = docling_ibid:OFFER\n")
        ran = self.run(tmp_path)
        assert ran.stdout.splitlines()[0] == "docling pdfium unstructured", ran.stderr


class TestPlugIn:
    def test_a_package_that_is_installed_takes_over_what_it_reads_better(self, tmp_path: Path):
        """As `pip install` leaves it: a module, and a folder that names its entry point."""
        (tmp_path / "highres.py").write_text(
            "from ibid.types import Element, ElementKind, Parsed, ParseReport\n"
            "from ingest.parsing.registry import Offer\n"
            "class Parser:\n"
            "    def parse(self, path, filename, media_type):\n"
            "        text = f'{filename} in high resolution'\n"
            "        return Parsed(text, (Element(ElementKind.PARAGRAPH, 0, len(text)),), (), ParseReport('highres'))\n"
            "OFFER = Offer('highres', 'highres:Parser', {'application/pdf': 200}, ('highres',))\n"
        )
        folder = tmp_path / "highres-1.2.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: highres\nVersion: 1.2\n")
        (folder / "entry_points.txt").write_text(f"[{registry.ENTRY_POINTS}]\nhighres = highres:OFFER\n")
        code = (
            "from pathlib import Path; from ingest.parsing.direct import DirectReader;"
            "from ingest.parsing.registry import offer_for, parser_fingerprint;"
            "print(DirectReader().parse(Path('a.pdf'), 'a.pdf', 'application/pdf').text);"
            "print(offer_for('text/html').name, parser_fingerprint('application/pdf').split()[0::2])"
        )
        environment = os.environ | {"PYTHONPATH": f"{Path(__file__).parents[2]}{os.pathsep}{tmp_path}"}
        ran = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment
        )
        first, second = ran.stdout.splitlines()
        assert first == "a.pdf in high resolution"
        assert second == "unstructured ['highres/1', 'highres==1.2']"
