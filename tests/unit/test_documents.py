"""The documents: links lead somewhere, and every command, address, setting and number they name is real."""

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
import typer
from pydantic.fields import FieldInfo

from api.app import create_app
from ibid.cli.app import app as command_line
from ibid.settings import Settings

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
)
# Read by commands, tests and the build, and so no fields of Settings.
OTHER_VARIABLES = {
    "IBID_API_KEY",
    "IBID_REQUIRE_SERVICES",
    "IBID_TEST_CHROMIUM",
    "IBID_TEST_DATA",
    "IBID_TEST_OTHER_EMBEDDER",
    "IBID_TEST_POSTGRES_URL",
    "IBID_TEST_QDRANT_API_KEY",
    "IBID_TEST_QDRANT_URL",
    "IBID_TEST_RABBITMQ_URL",
    "IBID_TEST_REDIS_URL",
    "IBID_TEST_SCREENSHOTS",
    "IBID_URL",
}
# The questions of the quick start: where each answer stands, and in which words.
SAMPLE_ANSWERS = {
    "How many books may a member borrow?": ("lending-rules.md", "up to 12 books at a time"),
    "When is the library closed for stocktaking?": ("opening-hours.md", "first full week of February"),
    "What does the third reminder cost?": ("fees.html", "The third reminder costs 3 crowns"),
    "How many seats does the Mill Room have?": ("room-booking.md", "The Mill Room has 40 seats"),
    "How long is lost property kept?": ("volunteer-handbook.md", "kept for 3 months"),
    "How wide is the automatic door of the upper entrance?": ("accessibility.txt", "95 centimetres wide"),
}


@dataclass(frozen=True)
class Block:
    """A fenced block of a document."""

    document: str
    language: str
    text: str


def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(language: str) -> Iterator[Block]:
    for document in DOCUMENTS:
        for found, text in re.findall(r"^```(\w*)\n(.*?)^```$", text_of(document), re.DOTALL | re.MULTILINE):
            if found == language:
                yield Block(document, found, text)


def inline_code() -> Iterator[tuple[str, str]]:
    """Document and text of every `piece of code` in running text."""
    for document in DOCUMENTS:
        prose = re.sub(r"^```.*?^```$", "", text_of(document), flags=re.DOTALL | re.MULTILINE)
        yield from ((document, code) for code in re.findall(r"`([^`\n]+)`", prose))


def commands() -> Iterator[tuple[str, str]]:
    """Document and command line of every command, of the shell blocks and of running text."""
    for block in SHELL_BLOCKS:
        joined = block.text.replace("\\\n", " ")
        yield from ((block.document, line.strip()) for line in joined.splitlines() if line.strip())
    yield from inline_code()


# Every one of these is checked below: its make targets, its ibid commands and options, its addresses and bodies.
SHELL_BLOCKS = list(blocks("sh"))


def slug(heading: str) -> str:
    """The anchor of a heading, as the usual viewers make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


class TestLinks:
    @pytest.mark.parametrize("document", DOCUMENTS)
    def test_they_lead_to_a_file_and_a_heading_that_exist(self, document):
        broken = []
        for target in re.findall(r"\]\(([^)\s]+)\)", text_of(document)):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            file = ((ROOT / document).parent / path).resolve() if path else ROOT / document
            headings = (
                re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
                if file.is_file()
                else []
            )
            if not file.is_file() or (anchor and anchor not in map(slug, headings)):
                broken.append(target)
        assert broken == []

    @pytest.mark.parametrize("document", DOCUMENTS)
    def test_those_that_leave_are_whole(self, document):
        outside = re.findall(r"\]\(([a-z]+:[^)\s]*)\)", text_of(document))
        assert [target for target in outside if not re.match(r"https://\w[\w.-]+\.\w+", target)] == []


class TestCommands:
    def test_every_make_target_exists(self):
        targets = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        named = [(where, line.split()[1]) for where, line in commands() if re.match(r"make [a-z]", line)]
        assert len(named) > 5
        assert [(where, target) for where, target in named if target not in targets] == []

    def test_every_make_variable_exists(self):
        known = set(re.findall(r"^([A-Z_]+) \?=", (ROOT / "Makefile").read_text(), re.MULTILINE))
        named = {
            variable
            for _, line in commands()
            if line.startswith("make ")
            for variable in re.findall(r"\b([A-Z_]+)=", line)
        }
        assert named
        assert named <= known

    def test_every_target_explains_itself(self):
        makefile = (ROOT / "Makefile").read_text()
        phony = set(re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)) - {"page"}
        explained = set(re.findall(r"^([a-z0-9-]+):.*## ", makefile, re.MULTILINE))
        assert phony == explained

    def test_every_ibid_command_exists_with_its_options(self):
        named = [(where, line) for where, line in commands() if re.match(r"(\.venv/bin/)?ibid [a-z]", line)]
        assert len(named) > 10
        assert [(where, line) for where, line in named if (problem := problem_of(line)) and problem] == []

    def test_every_address_of_the_api_exists(self, settings, parts):
        known = {
            (method.upper(), re.sub(r"\{[^}]+\}", "{}", path))
            for path, methods in create_app(settings, parts).openapi()["paths"].items()
            for method in methods
        }
        named = [(where, *address) for where, line in commands() if (address := address_of(line))]
        assert len(named) > 8
        assert [(where, method, path) for where, method, path in named if (method, path) not in known] == []

    def test_bodies_are_json(self):
        bodies = [body for block in SHELL_BLOCKS for body in re.findall(r"-d '([^']*)'", block.text)]
        bodies += [block.text for block in blocks("json")]
        assert len(bodies) > 5
        for body in bodies:
            assert isinstance(json.loads(body), dict)


def problem_of(line: str) -> str:
    """What is wrong with an ibid command line: empty if such a command takes such options."""
    words = re.findall(r'"[^"]*"|\S+', line)[1:]
    command: click.Command = typer.main.get_command(command_line)
    while isinstance(command, click.Group) or hasattr(command, "commands"):
        name = words.pop(0) if words else ""
        if name not in command.commands:
            return f"no command {name!r}"
        command = command.commands[name]
    options = {
        option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
    }
    unknown = [word for word in words if word.startswith("-") and word not in options]
    return f"no options {unknown}" if unknown else ""


def address_of(line: str) -> tuple[str, str] | None:
    """Method and path, with {} for each parameter, of a curl command or of an address in running text."""
    method, path = None, None
    if match := re.match(r"curl .*?http://127\.0\.0\.1:8000(/v1/\S*)", line):
        said = re.search(r" -X (\w+) ", line)
        method, path = said[1] if said else "POST" if re.search(r" (-d|-F) ", line) else "GET", match[1]
    elif match := re.match(r"(GET|POST|DELETE|PUT|PATCH) (/\S+)$", line):
        method, path = match[1], match[2]
    if path is None:
        return None
    named = re.sub(r"(/collections)/(?!\{)[^/]+", r"\1/{}", re.sub(r"\{[^}]+\}", "{}", path))
    return method, named


class TestSettings:
    def test_every_variable_named_exists(self):
        known = {f"IBID_{name.upper()}" for name in Settings.model_fields} | OTHER_VARIABLES
        named = {
            (document, name)
            for document in DOCUMENTS
            for name in re.findall(r"IBID_[A-Z0-9_]+", text_of(document))
        }
        assert {pair for pair in named if pair[1] not in known} == set()

    def test_the_table_has_a_row_for_each_and_no_other(self):
        """A row is the setting's own name, default and description."""
        rows = re.findall(r"^\| `IBID_.*\|$", text_of("README.md"), re.MULTILINE)
        assert rows == [row(name, field) for name, field in Settings.model_fields.items()]


def row(name: str, field: FieldInfo) -> str:
    default = "" if field.default in (None, "") else f"`{field.default}`"
    if isinstance(field.default, bool):
        default = default.lower()
    return f"| `IBID_{name.upper()}` | {default} | {field.description} |"


class TestSample:
    @pytest.mark.parametrize("question", SAMPLE_ANSWERS)
    def test_each_question_of_the_quick_start_has_its_answer_in_one_place(self, question):
        assert question in text_of("docs/quick-start.md")
        file, words = SAMPLE_ANSWERS[question]
        holding = [
            path.name
            for path in sorted((ROOT / "ibid/samples").iterdir())
            if words in " ".join(path.read_text().split())
        ]
        assert holding == [file]

    def test_the_quick_start_lists_no_other_question(self):
        listed = re.findall(r"^\d\. (.+\?)$", text_of("docs/quick-start.md"), re.MULTILINE)
        assert listed == list(SAMPLE_ANSWERS)


class TestDecisions:
    @pytest.mark.parametrize("document", [name for name in DOCUMENTS if name.startswith("docs/decisions/")])
    def test_each_says_why_and_what_else(self, document):
        headings = re.findall(r"^## (.+)$", text_of(document), re.MULTILINE)
        assert headings == ["Context", "Decision", "Consequences", "Alternatives"]
        assert re.match(r"# \d{4}\. ", text_of(document))

    def test_they_are_numbered_without_gaps(self):
        numbers = [int(Path(name).name[:4]) for name in DOCUMENTS if name.startswith("docs/decisions/")]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) >= 4


class TestChanges:
    def test_this_version_is_in_the_changelog(self):
        version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
        assert re.search(rf"^## {re.escape(version)}\b", text_of("CHANGELOG.md"), re.MULTILINE)
