"""The benchmarks measure what they say: vectors kept between runs, roles of processes, targets, and what is written."""

import json
import re
import socket
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from benchmarks import __main__ as program
from benchmarks import machine, report
from benchmarks.bench import Row, Target
from benchmarks.watching import role
from evals import datasets
from evals.vectors import Vectors
from ibid.embedding.hashing import HashingEmbedder


class Counting(HashingEmbedder):
    """Counts the texts that it encodes."""

    def __init__(self) -> None:
        super().__init__()
        self.encoded = 0

    def encode(self, texts):
        self.encoded += len(texts)
        return super().encode(texts)


class TestVectors:
    def test_are_those_of_the_encoder(self, tmp_path):
        encoder = Counting()
        vectors = Vectors(encoder, tmp_path)
        found = vectors.of(["one text", "another"])
        np.testing.assert_array_equal(found[vectors.key("another")], HashingEmbedder().encode(["another"])[0])

    def test_are_made_once_and_kept_for_later_runs(self, tmp_path):
        Vectors(Counting(), tmp_path).of(["one text", "another"])
        later = Counting()
        found = Vectors(later, tmp_path).of(["another", "a third", "a third"])
        assert later.encoded == 1
        assert len(found) == 2


class TestRole:
    @pytest.mark.parametrize(
        ("command", "parent", "expected"),
        [
            ("python -m ibid.cli serve", None, "api"),
            ("python -m worker.app", "api", "worker"),
            ("python -m worker.app", "worker", "worker child"),
            ("python -m ingest.parsing.server 7", "worker child", "parse server"),
            ("python -m ingest.parsing.server 7", "parse server", "parse child"),
            ("soffice --headless", "parse child", "other child of parse child"),
        ],
    )
    def test_follows_from_command_and_parent(self, command, parent, expected):
        assert role(command.split(), parent) == expected


class TestTarget:
    @pytest.mark.parametrize(
        ("target", "value", "met"),
        [
            (Target(2000, "less"), 2000, True),
            (Target(2000, "less"), 2001, False),
            (Target(20, "more"), 20, True),
            (Target(20, "more"), 19.9, False),
        ],
    )
    def test_holds_at_its_limit(self, target, value, met):
        assert target.met(value) is met


class TestDescribe:
    def test_names_the_packages_but_neither_host_nor_place(self):
        described = machine.describe()
        assert described["packages"]["torch"].startswith("2.13.0")
        text = json.dumps(described)
        assert str(machine.ROOT) not in text
        assert not re.search(r"/(home|root|Users)\b", text)

        assert socket.gethostname() not in text


class TestWrite:
    def test_table_page_and_json_show_the_same_run(self, tmp_path):
        rows = (
            Row("latency", "search, p95, 1 client", 1234.4, "ms", Target(2000, "less"), "3 searches"),
            Row("retrieval", "SciFact, both legs fused", 0.71239, "nDCG@10"),
        )
        run = report.Run(
            datetime(2027, 1, 2, 3, 4, tzinfo=UTC), machine.describe(), 0.5, 2.25, 61.0, quick=True, rows=rows
        )
        result, page, plot = report.write(run, tmp_path)
        assert result.name.startswith("2027-01-02-")
        saved = json.loads(result.read_text())
        assert [row["value"] for row in saved["rows"]] == [1234.4, 0.71239]
        assert (saved["load_before"], saved["load_after"], saved["quick"]) == (0.5, 2.25, True)
        text = page.read_text()
        assert "| latency | search, p95, 1 client | 1234 | ms | ≤ 2000 met | 3 searches |" in text
        assert "| retrieval | SciFact, both legs fused | 0.712 | nDCG@10 |  |  |" in text
        assert f"]({plot.name})" in text
        assert "samples are too small" in text
        assert plot.read_text().startswith("<?xml")
        assert "0.712 nDCG@10" in report.table(rows)


class TestMain:
    def test_says_what_to_do_without_data(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr(program, "DATA", tmp_path / "nowhere")
        assert program.main(["--quick", "--to", str(tmp_path)]) == 2
        assert "IBID_TEST_DATA" in capsys.readouterr().err

    @pytest.mark.data
    def test_measures_prints_and_keeps(self, data, tmp_path, capsys):
        assert datasets.DATA.is_dir()
        assert program.main(["--quick", "--only", "parsing", "--to", str(tmp_path)]) == 0
        assert "Ibid's PDF parser" in capsys.readouterr().out
        (result,) = (tmp_path / "benchmarks" / "results").iterdir()
        rows = json.loads(result.read_text())["rows"]
        assert {row["unit"] for row in rows} == {"pages/s", "times"}
        assert all(row["value"] > 0 for row in rows)
        assert Path(tmp_path / "docs" / "benchmarks.svg").is_file()
