"""Small texts of one collection that share a parse child: what goes well is kept, all else is read alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from ibid import collections
from ibid.bootstrap import Parts
from ibid.db.tables import Parse, Version
from ibid.settings import Settings
from ibid.types import JobState, Parsed, Scope
from ingest import together
from ingest.parsing.errors import ParserDied, ParsersUnavailable
from ingest.parsing.reader import ConfinedReader
from ingest.work import work
from tests.unit.shop import Shop

TEXT = "text/plain"


class Reader(ConfinedReader):
    """The product's; counts how documents were read, and may fail when several are read at once."""

    def __init__(self) -> None:
        super().__init__(Settings())
        self.alone: list[str] = []
        self.shared: list[list[str]] = []
        self.failure: Exception | None = None

    def parse(self, path: Path, filename: str, media_type: str, pages: object = ()) -> Parsed:
        self.alone.append(filename)
        return super().parse(path, filename, media_type)

    def parse_together(self, files: list[tuple[Path, str]], media_type: str) -> list[Parsed | None]:
        self.shared.append(sorted(name for _, name in files))
        if self.failure:
            raise self.failure
        return super().parse_together(files, media_type)


@pytest.fixture
def reader() -> Iterator[Reader]:
    made = Reader()
    yield made
    made.close()


@pytest.fixture
def shop(parts: Parts, admin: Scope, reader: Reader) -> Shop:
    made = Shop(parts, admin)
    made.use(reader)
    return made


def texts(shop: Shop) -> dict[str, str]:
    with shop.parts.db.read() as session:
        rows = session.execute(
            select(Version.filename, Parse.text).join(Parse, Parse.key == Version.parse_key)
        )
        return dict(list(rows))


class TestServer:
    def test_gives_each_its_own_text_in_order(self, reader: Reader, tmp_path: Path) -> None:
        files = [(tmp_path / f"{n}.txt", f"{n}.txt") for n in range(5)]
        for path, name in files:
            path.write_text(f"The note {name} says so.")
        read = reader.parse_together(files, TEXT)
        assert [parsed.text for parsed in read if parsed] == [f"The note {n}.txt says so." for n in range(5)]
        assert read == [reader.parse(path, name, TEXT) for path, name in files]

    def test_one_that_is_refused_costs_the_others_nothing(self, reader: Reader, tmp_path: Path) -> None:
        good, empty = tmp_path / "good.txt", tmp_path / "empty.txt"
        good.write_text("Words.")
        empty.write_text(" \n")
        first, second, third = reader.parse_together(
            [(good, "a.txt"), (empty, "b.txt"), (good, "c.txt")], TEXT
        )
        assert second is None
        assert first is not None
        assert first == third

    def test_a_child_that_dies_gives_none_of_them(self, tmp_path: Path) -> None:
        small = ConfinedReader(Settings(parse_seconds=0.001))
        try:
            path = tmp_path / "a.txt"
            path.write_text("Words. " * 5_000)
            assert small.parse_together([(path, "a.txt"), (path, "b.txt")], TEXT) == [None, None]
        finally:
            small.close()


class TestBatch:
    def test_is_read_at_once(self, shop: Shop, reader: Reader) -> None:
        accepted = [shop.upload(f"Note {n} of many.", f"{n}.txt") for n in range(4)]
        shop.work()
        assert {shop.state(one.job_id) for one in accepted} == {JobState.SUCCEEDED}
        assert (reader.shared, reader.alone) == ([["0.txt", "1.txt", "2.txt", "3.txt"]], [])
        assert texts(shop) == {f"{n}.txt": f"Note {n} of many." for n in range(4)}
        shop.agree()

    def test_what_is_refused_is_read_alone_and_judged_by_that(self, shop: Shop, reader: Reader) -> None:
        good, bad = shop.upload("Note one."), shop.upload(" \n ", "bad.txt")
        shop.work()
        assert shop.state(good.job_id) == JobState.SUCCEEDED
        assert (shop.state(bad.job_id), shop.job(bad.job_id).error_code) == (JobState.FAILED, "no_text")
        assert reader.alone == ["bad.txt"]

    @pytest.mark.parametrize("failure", [ParserDied("It died."), ParsersUnavailable("None is there.")])
    def test_if_it_fails_each_is_read_alone(self, shop: Shop, reader: Reader, failure: Exception) -> None:
        reader.failure = failure
        accepted = [shop.upload(f"Note {n} of many.", f"{n}.txt") for n in range(3)]
        shop.work()
        jobs = [shop.job(one.job_id) for one in accepted]
        assert {(job.state, job.attempt, job.failures) for job in jobs} == {(JobState.SUCCEEDED, 1, 0)}
        assert sorted(reader.alone) == ["0.txt", "1.txt", "2.txt"]

    def test_leaves_out_what_is_large_or_alone(self, shop: Shop, reader: Reader) -> None:
        shop.upload("Note one.", "1.txt")
        shop.upload("Words of a large text. " * 4_000, "large.txt")
        shop.work()
        assert reader.shared == []
        assert sorted(reader.alone) == ["1.txt", "large.txt"]

    def test_one_of_a_type_that_nobody_reads_costs_the_others_nothing(
        self, shop: Shop, reader: Reader
    ) -> None:
        unknown, good = shop.upload("Note one.", "1.txt"), shop.upload("Note two.", "2.txt")
        with shop.parts.db.begin() as session:
            row = session.scalars(select(Version).where(Version.filename == "1.txt")).one()
            row.media_type = "text/of-another-release"
        shop.work()
        assert shop.job(unknown.job_id).error_code == "unsupported_type"
        assert shop.state(good.job_id) == JobState.SUCCEEDED

    def test_never_mixes_collections(self, shop: Shop, reader: Reader, parts: Parts, admin: Scope) -> None:
        first = shop.collection
        with parts.db.begin() as session:
            other = collections.create(
                session, name="other", description="", grants=None, recipe=parts.recipe()
            ).id
        for n in range(4):
            shop.collection = (first, other)[n % 2]
            shop.upload(f"Note {n} of many.", f"{n}.txt")
        shop.work()
        assert sorted(reader.shared) == [["0.txt", "2.txt"], ["1.txt", "3.txt"]]

    def test_the_same_bytes_are_not_read_again(self, shop: Shop, reader: Reader) -> None:
        shop.upload("Note one.", "1.txt")
        shop.work()
        for n in (2, 3):
            shop.upload("Note one.", f"{n}.txt")
        shop.work()
        assert (reader.shared, reader.alone) == ([], ["1.txt"])

    def test_a_worker_that_was_told_to_stop_reads_nothing(self, shop: Shop, reader: Reader) -> None:
        accepted = [shop.upload(f"Note {n}.", f"{n}.txt") for n in range(2)]
        held = shop.claim()
        shop.tools.stopping.set()
        assert together.read(shop.tools, held) == {}
        work(shop.tools, held)
        assert {shop.state(one.job_id) for one in accepted} == {JobState.QUEUED}
        assert reader.shared == []
