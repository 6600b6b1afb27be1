"""The house rules that no linter knows, each with its reason.

They read the code as text and as syntax trees and import none of it.
"""

import ast
import os
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[2]
PRODUCT = ("api", "ibid", "ingest", "migrations", "retrieval", "worker")
SCRIPTS = ("benchmarks", "evals")
TESTS = ("tests",)

# Files and functions that were looked at again and stay long, with the reason.
LONG_FILES: dict[str, str] = {
    "ibid/db/tables.py": "all tables in one place: they are read together, and each is short",
}
LONG_FUNCTIONS: dict[str, str] = {}

# Where each vendor's library may be imported, as patterns of paths.
VENDORS: dict[str, tuple[str, ...]] = {
    "PIL": ("ingest/parsing/pictures.py",),
    "anthropic": ("ibid/chat/provider.py",),
    "alembic": ("ibid/db/schema.py", "migrations/*"),
    "celery": ("worker/*", "ibid/nudge/celery.py"),
    "docx": ("ingest/parsing/hidden.py",),
    "fastapi": ("api/*",),
    "google": ("ibid/chat/provider.py",),
    "httpx2": ("ibid/chat/provider.py",),
    "kombu": ("worker/*", "ibid/nudge/*"),
    "obstore": ("ibid/blobs/obstore.py",),
    "onnxruntime": ("ibid/embedding/int8.py", "ibid/embedding/quantising.py"),
    "openai": ("ibid/chat/provider.py",),
    "openpyxl": ("ingest/parsing/workbook.py",),
    "oxmsg": ("ingest/parsing/mail.py",),
    "pptx": ("ingest/parsing/notes.py",),
    "prometheus_client": ("ibid/metrics.py",),
    "psycopg": ("ibid/db/session.py",),
    "py3langid": ("ingest/parsing/languages.py",),
    "pydantic_ai": ("ibid/chat/provider.py",),
    "pypdfium2": ("ingest/parsing/pdf*.py",),
    "qdrant_client": ("ibid/vectors/qdrant*.py",),
    "qdrant_edge": ("ibid/vectors/edge*.py", "ibid/embedding/bm25.py"),
    "rapidocr": ("ingest/parsing/ocr.py",),
    "sentence_transformers": (
        "ibid/embedding/library.py",
        "ibid/embedding/one_call.py",
        "ibid/reranking/cross_encoder.py",
    ),
    "spacy": ("ingest/parsing/unstructured*.py",),
    "starlette": ("api/*",),
    "tokenizers": ("ibid/embedding/int8.py",),
    "tenacity": ("ibid/chat/provider.py",),
    "torch": (
        "ibid/reranking/cross_encoder.py",
        "ibid/embedding/equalising.py",
        "ibid/embedding/one_call.py",
        "ibid/embedding/quantising.py",
        "ibid/embedding/sentence_transformers.py",
    ),
    "typer": ("ibid/cli/*",),
    "unstructured": ("ingest/parsing/unstructured*.py",),
    "uvicorn": ("ibid/cli/serving.py",),
}

COMMITS_ALLOWED = (
    "api/*",
    "worker/*",
    "ibid/cli/*",
    "ibid/bootstrap.py",
    "ibid/db/session.py",
    "ibid/db/schema.py",
    "migrations/env.py",
)
BROAD_EXCEPT_ALLOWED = ("api/edge.py",)


@dataclass(frozen=True)
class Source:
    """A Python file of the repository."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def lines(self) -> list[str]:
        return lines_of(self.path)

    @property
    def tree(self) -> ast.Module:
        return tree_of(self.path)

    def within(self, patterns: tuple[str, ...]) -> bool:
        return any(fnmatchcase(self.name, pattern) for pattern in patterns)

    def at(self, node: ast.AST, what: str) -> str:
        return f"{self.name}:{node.lineno}: {what}"


@cache
def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def nodes_of(tree: ast.AST) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(tree))


@cache
def sources(*folders: str) -> tuple[Source, ...]:
    found = tuple(
        Source(path)
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "__pycache__" not in path.parts
    )
    assert found, f"no Python files under {folders}"
    return found


def imports_of(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    """Every import statement with the module it names, at any depth."""
    for node in nodes_of(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node, node.module or ""


def functions_of(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in nodes_of(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@cache
def calls_of(tree: ast.AST) -> tuple[tuple[ast.Call, str], ...]:
    """Every call with the dotted name of what is called."""
    return tuple((node, ast.unparse(node.func)) for node in nodes_of(tree) if isinstance(node, ast.Call))


def excused(source: Source, line: int, rule: str) -> bool:
    """Whether a line carries the rule's marker with a reason."""
    return re.search(rf"# noqa: [A-Z0-9, ]*{rule}[A-Z0-9, ]* - \w", source.lines[line - 1]) is not None


class TestImporting:
    def test_vendor_libraries_stay_in_their_adapter(self):
        """A vendor's types and errors end at one file: replacing the vendor means replacing that file."""
        strays = [
            source.at(node, f"{module} belongs in {', '.join(VENDORS[vendor])}")
            for source in sources(*PRODUCT)
            for node, module in imports_of(source.tree)
            if (vendor := module.partition(".")[0]) in VENDORS and not source.within(VENDORS[vendor])
        ]
        assert strays == []

    def test_imports_stand_at_the_top(self):
        """An import inside a function hides a dependency and, mostly, a cycle; a lazy one says why it is lazy."""
        hidden = [
            source.at(node, f"import of {module} inside {function.name} without `# noqa: PLC0415 - reason`")
            for source in sources(*PRODUCT)
            for function in functions_of(source.tree)
            for node, module in imports_of(function)
            if not excused(source, node.lineno, "PLC0415")
        ]
        assert hidden == []

    def test_what_is_imported_is_declared(self):
        """A library that comes along with another one leaves with it, too."""
        declared = declared_distributions()
        providers = packages_distributions()
        ours = {*PRODUCT, *SCRIPTS, "__future__"} | sys.stdlib_module_names
        missing = {
            f"{source.name}: {top}"
            for source in sources(*PRODUCT)
            for _, module in imports_of(source.tree)
            if (top := module.partition(".")[0]) not in ours
            and not declared & {normalised(name) for name in providers.get(top, [])}
        }
        assert missing == set()


class TestNaming:
    def test_no_module_is_a_drawer(self):
        """A module called utils, helpers or common has no subject, so it grows without end."""
        drawers = re.compile(r"^(utils?|helpers?|common|misc|shared)$")
        assert [s.name for s in sources(*PRODUCT, *TESTS) if drawers.match(s.path.stem)] == []

    def test_no_class_is_a_manager(self):
        """Manager, Helper and Util say that nobody knew what the class is."""
        vague = re.compile(r"(Manager|Helper|Utils?)$")
        assert [
            source.at(node, node.name)
            for source in sources(*PRODUCT)
            for node in nodes_of(source.tree)
            if isinstance(node, ast.ClassDef) and vague.search(node.name)
        ] == []


class TestFailing:
    def test_broad_except_only_at_the_doors(self):
        """A broad except turns a bug into a wrong result. A door must answer, so there, saying so, it may catch all."""
        broad = [
            source.at(node, "broad except: name the errors, re-raise, or mark `# a door: reason`")
            for source in sources(*PRODUCT)
            if not source.within(BROAD_EXCEPT_ALLOWED)
            for node in nodes_of(source.tree)
            if isinstance(node, ast.ExceptHandler) and self.catches_all(node) and not self.raises_again(node)
            if not excused(source, node.lineno, "BLE001") and "door: " not in source.lines[node.lineno - 1]
        ]
        assert broad == []

    def test_nothing_broad_is_suppressed(self):
        """`suppress(Exception)` is a broad except in disguise."""
        assert [
            source.at(call, ast.unparse(call))
            for source in sources(*PRODUCT)
            for call, name in calls_of(source.tree)
            if name.endswith("suppress")
            and {"Exception", "BaseException"} & {ast.unparse(a) for a in call.args}
        ] == []

    @staticmethod
    def catches_all(handler: ast.ExceptHandler) -> bool:
        if handler.type is None:
            return True
        caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        return bool({"Exception", "BaseException"} & {ast.unparse(one) for one in caught})

    @staticmethod
    def raises_again(handler: ast.ExceptHandler) -> bool:
        last = handler.body[-1]
        return isinstance(last, ast.Raise) and (last.exc is None or last.cause is not None)


class TestCommitting:
    def test_only_the_edge_commits(self):
        """Who commits decides what is one unit of work; a room cannot know that, so it flushes."""
        assert [
            source.at(call, name)
            for source in sources(*PRODUCT)
            if not source.within(COMMITS_ALLOWED)
            for call, name in calls_of(source.tree)
            if name.endswith(".commit")
        ] == []


class TestRunning:
    def test_no_print_outside_the_command_line(self):
        """A service speaks through its log and its answers; output belongs to `ibid/cli`."""
        assert [
            source.at(call, "print")
            for source in sources(*PRODUCT)
            if not source.within(("ibid/cli/*",))
            for call, name in calls_of(source.tree)
            if name == "print"
        ] == []

    def test_times_know_their_zone(self):
        """A time without a zone compares wrongly with one that has it, and differs between two machines."""
        assert [
            source.at(call, ast.unparse(call))
            for source in sources(*PRODUCT, *TESTS)
            for call, name in calls_of(source.tree)
            if (re.search(r"\bdatetime\.now$", name) and not call.args and not call.keywords)
            or re.search(r"\bdatetime\.(utcnow|today|utcfromtimestamp)$", name)
        ] == []

    def test_tests_do_not_sleep(self):
        """A sleep is too long on a fast machine and too short on a slow one: wait on the condition.

        One function does that for all of them, and has to pause between two looks.
        """
        assert [
            source.at(call, name)
            for source in sources(*TESTS)
            if source.name != "tests/running.py"
            for call, name in calls_of(source.tree)
            if name in {"time.sleep", "sleep"}
        ] == []


class TestSizes:
    def test_files_over_400_lines_were_looked_at(self):
        """A file that long mostly tells two stories. Those that tell one are listed, with the reason."""
        long = {s.name for s in self.sized() if len(s.lines) > 400}
        assert long - LONG_FILES.keys() == set()
        assert LONG_FILES.keys() - long == set(), "no longer long: take it off the list"

    def test_functions_over_50_lines_were_looked_at(self):
        """A function that long mostly does two things. Those that do one are listed, with the reason."""
        long = {
            f"{source.name}:{function.name}"
            for source in self.sized()
            for function in functions_of(source.tree)
            if function.end_lineno - function.lineno >= 50
        }
        assert long - LONG_FUNCTIONS.keys() == set()
        assert LONG_FUNCTIONS.keys() - long == set(), "no longer long: take it off the list"

    @staticmethod
    def sized() -> Iterator[Source]:
        """The product without migrations: these are written once, by a program, and never worked on again."""
        return (s for s in sources(*PRODUCT, *SCRIPTS) if not s.within(("migrations/versions/*",)))


class TestWriting:
    def test_an_exception_to_a_rule_says_why(self):
        """Without its reason nobody dares to remove a marker, so it stays for ever.

        Imports below the top (E402) come in blocks, and the line above the block says why.
        """
        bare = re.compile(r"# (noqa(?!: (E402|[A-Z][A-Z0-9, ]* - \w))|type: ignore(?!\[))")
        own = Source(Path(__file__))
        assert [
            f"{source.name}:{number}: {line.strip()}"
            for source in sources(*PRODUCT, *SCRIPTS, *TESTS)
            if source != own
            for number, line in enumerate(source.lines, start=1)
            if bare.search(line)
        ] == []

    def test_nothing_is_left_to_do(self):
        """A note to oneself is read by nobody: do it, or write down where it is tracked."""
        words = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" * 3, "HA" + "CK"]) + r")\b")
        assert offending(words, allowed={}) == []

    def test_no_registry_is_named(self):
        """Where packages come from is for the machine to say; a mirror must not need a patch."""
        hosts = ["pypi" + ".org", "pythonhosted" + ".org", "npmjs" + ".org", "download." + "pytorch.org"]
        hosts += ["docker" + ".io", "ghcr" + ".io", "quay" + ".io", "registry" + ".hub"]
        # The one address that a plain Linux needs to keep CUDA packages out.
        allowed = {"README.md": "download." + "pytorch.org"}
        assert offending(re.compile("|".join(map(re.escape, hosts))), allowed=allowed) == []

    def test_no_machine_path_is_named(self):
        """A path of somebody's machine is noise to everybody else, and wrong on theirs."""
        assert offending(re.compile(r"(?<![\w.*$}])/(work|opt|root|home|Users)/\w"), allowed={}) == []


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared_distributions() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = (*project["dependencies"], *extras["ocr"])
    return {normalised(re.match(r"[\w.-]+", requirement).group()) for requirement in asked}


@cache
def texts() -> tuple[tuple[str, list[str]], ...]:
    """Name and lines of every text file of the repository: not ignored, not built, not data."""
    skipped = {
        ".git",
        ".venv",
        ".hypothesis",
        "node_modules",
        "dist",
        "build",
        "data",
        "results",
        "__pycache__",
    }
    found = []
    for folder, inner, files in os.walk(ROOT):
        inner[:] = [n for n in inner if n not in skipped and not n.endswith(("_cache", ".egg-info"))]
        paths = (Path(folder) / file for file in files)
        found += [path for path in paths if path.suffix not in {".png", ".ico", ".woff2", ".pdf", ".docx"}]
    return tuple((path.relative_to(ROOT).as_posix(), readable_lines(path)) for path in sorted(found))


def readable_lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def offending(pattern: re.Pattern[str], *, allowed: dict[str, str]) -> list[str]:
    """Lines that match, except where the file may hold the one allowed text."""
    return [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, lines in texts()
        for number, line in enumerate(lines, start=1)
        if pattern.search(line)
        and not (name in allowed and not pattern.search(line.replace(allowed[name], "")))
    ]
