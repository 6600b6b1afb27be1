"""What may be installed: `constraints.txt` pins what `pyproject.toml` asks for, and keeps heavy and clashing packages out."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
# Not `hi-res`: it brings what is kept out of everything else, and whoever wants it installs it beside the pins.
INSTALLED = [name for name in EXTRAS if name != "hi-res"]
REQUIREMENTS = [
    Requirement(text)
    for text in (*PROJECT["dependencies"], *(line for extra in INSTALLED for line in EXTRAS[extra]))
]
PINS = {
    canonicalize_name(name): version
    for name, version in re.findall(
        r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE
    )
}


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
def test_what_is_asked_for_is_pinned(requirement: Requirement) -> None:
    assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)])


def test_every_line_is_a_pin() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert len([line for line in lines if line and not line.startswith("#")]) == len(PINS)


def test_torch_has_one_version_and_no_build() -> None:
    """A local version (`+cpu`) would not be found on the index that a plain machine has."""
    assert PINS["torch"] == "2.13.0"


def test_nothing_brings_torchvision_or_cuda() -> None:
    """torchvision breaks transformers beside a CPU torch; timm brings it; the nvidia packages are gigabytes."""
    assert not [
        name for name in PINS if name in {"torchvision", "timm", "triton"} or name.startswith("nvidia-")
    ]


def test_unstructured_reads_neither_pdfs_nor_images() -> None:
    """These extras bring torchvision; PDFs are read with pypdfium2, unless somebody asks for `hi-res`."""
    (unstructured,) = (one for one in REQUIREMENTS if one.name == "unstructured")
    assert unstructured.extras
    assert not unstructured.extras & {"pdf", "image", "all-docs", "local-inference", "paddleocr"}


def test_the_layout_model_is_an_extra_of_the_same_unstructured() -> None:
    (asked,) = map(Requirement, EXTRAS["hi-res"])
    (always,) = (one for one in REQUIREMENTS if one.name == "unstructured")
    assert (asked.name, asked.extras, asked.specifier) == ("unstructured", {"pdf"}, always.specifier)
