"""Documents inside documents: accepted when their parent goes live, like it in rights, gone with it."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from ibid import access, children, documents, jobs, uploads, versions
from ibid.bootstrap import Parts
from ibid.clock import now
from ibid.db.tables import AttachmentRow, Blob, Document, KeptOut, Parse
from ibid.documents import DocumentView
from ibid.types import Scope
from ingest import reading
from ingest.work import work
from tests.unit.shop import MailReader, Shop


@pytest.fixture
def shop(parts: Parts, admin: Scope) -> Shop:
    made = Shop(parts, admin)
    made.use(MailReader())
    return made


MAIL = (
    "Please read what is attached.\n\na.txt: The first one.\n\n../b.txt: The second one.\n\nc.exe: Not read."
)


def inside(shop: Shop, document_id: str) -> list[DocumentView]:
    with shop.parts.db.read() as session:
        return documents.children(session, shop.scope, document_id)


def receipt_warnings(shop: Shop, document_id: str) -> tuple[str, ...]:
    with shop.parts.db.read() as session:
        return documents.receipt(session, shop.scope, document_id).warnings


class TestAccept:
    def test_makes_documents_of_files_inside(self, shop: Shop) -> None:
        mail = shop.upload(MAIL, "mail.txt", metadata={"team": "HR"}, grants=["user:ann"])
        shop.work()
        found = inside(shop, mail.document_id)
        assert [(child.name, child.state, child.parent_id) for child in found] == [
            (name, "succeeded", mail.document_id) for name in ("a.txt", "b.txt")
        ]
        assert all((child.metadata, child.access) == ({"team": "HR"}, ["user:ann"]) for child in found)
        (warning,) = receipt_warnings(shop, mail.document_id)
        assert warning.startswith("c.exe inside was not read")
        shop.agree()

    def test_twice_makes_no_more(self, shop: Shop) -> None:
        mail = shop.upload(MAIL, "mail.txt")
        shop.work()
        with shop.parts.db.begin() as session:
            parent = session.get_one(Document, mail.document_id)
            children.accept(session, parent, documents.existing(session, parent.id), grace=None)
        assert len(inside(shop, mail.document_id)) == 2
        assert all(child.version == 1 for child in inside(shop, mail.document_id))

    def test_a_version_that_never_goes_live_takes_and_brings_nothing(self, shop: Shop) -> None:
        mail = shop.upload(MAIL, "mail.txt")
        shop.work()
        before = inside(shop, mail.document_id)
        newer = shop.upload("New.\n\na.txt: Changed.\n\nd.txt: Another one.", "mail.txt")
        (held,) = shop.claim()
        reading.read(shop.tools, held)
        assert inside(shop, mail.document_id) == before
        with shop.parts.db.begin() as session:
            jobs.cancel(session, shop.scope, newer.job_id or "")
        work(shop.tools, [held])
        shop.work()
        assert (shop.state(newer.job_id), shop.live(mail.document_id)) == ("cancelled", 1)
        assert inside(shop, mail.document_id) == before

    def test_where_the_text_was_kept_from_before(self, shop: Shop) -> None:
        shop.upload(MAIL, "mail.txt")
        shop.work()
        read = shop.reader.parsed
        copy = shop.upload(MAIL, "copy.txt")
        shop.work()
        assert shop.reader.parsed == read
        assert [child.name for child in inside(shop, copy.document_id)] == ["a.txt", "b.txt"]
        assert shop.count(Blob) == 3

    def test_a_new_version_drops_those_it_lacks(self, shop: Shop) -> None:
        mail = shop.upload(MAIL, "mail.txt")
        shop.work()
        first, _ = inside(shop, mail.document_id)
        shop.upload("Only one.\n\na.txt: The first one, changed.", "mail.txt")
        shop.work()
        (left,) = inside(shop, mail.document_id)
        assert (left.id, left.version, left.live_version) == (first.id, 2, 2)
        shop.agree()

    def test_no_deeper_than_three(self, shop: Shop) -> None:
        mail = shop.upload("Top.\n\n1.txt: One. / 2.txt: Two. // 3.txt: Three. /// 4.txt: Four.", "mail.txt")
        shop.work()
        document, names = mail.document_id, []
        while found := inside(shop, document):
            document, names = found[0].id, [*names, found[0].name]
        assert names == ["1.txt", "2.txt", "3.txt"]
        assert "documents deep" in receipt_warnings(shop, document)[0]


class TestDelete:
    def test_takes_all_inside_with_it(self, shop: Shop) -> None:
        mail = shop.upload(MAIL, "mail.txt")
        shop.work()
        ids = [child.id for child in inside(shop, mail.document_id)]
        shop.delete(mail.document_id)
        with shop.parts.db.read() as session:
            for id_ in ids:
                with pytest.raises(access.DocumentNotFound):
                    access.document(session, shop.scope, id_)
        shop.work()
        assert (shop.points(), shop.count(Blob), shop.count(Parse), shop.count(AttachmentRow)) == (0, 0, 0, 0)
        assert list(shop.parts.blobs.keys()) == []

    def test_of_one_inside_keeps_what_a_parse_refers_to(self, shop: Shop) -> None:
        mail = shop.upload(MAIL, "mail.txt")
        shop.work()
        shop.delete(inside(shop, mail.document_id)[0].id)
        shop.work()
        with shop.parts.db.begin() as session:
            session.execute(update(Blob).values(touched_at=now() - timedelta(days=1)))
            assert uploads.orphans(session) == set()
        assert shop.count(Blob) == 3


def delete_inside(shop: Shop, document_id: str, name: str) -> str:
    (child,) = [each.id for each in inside(shop, document_id) if each.name == name]
    shop.delete(child)
    shop.work()
    return child


def names(shop: Shop, document_id: str) -> list[str]:
    return [child.name for child in inside(shop, document_id)]


def contents(shop: Shop, document_id: str) -> dict[str, str]:
    """The name of each living file inside by its text."""
    found = {}
    for child in inside(shop, document_id):
        with shop.parts.db.read() as session:
            key = session.get_one(Blob, documents.existing(session, child.id).blob_id).key
        found[shop.parts.blobs.read(key).decode()] = child.name
    return found


class TestDeleteInside:
    """What a person deleted of the files inside a document stays deleted."""

    def test_when_the_document_gets_a_new_version(self, shop: Shop) -> None:
        mail = shop.upload(MAIL, "mail.txt")
        shop.work()
        delete_inside(shop, mail.document_id, "a.txt")
        shop.upload(MAIL + "\n\nd.txt: A new one.", "mail.txt")
        shop.work()
        assert names(shop, mail.document_id) == ["b.txt", "d.txt"]
        said = receipt_warnings(shop, mail.document_id)
        assert any(warning.startswith("1 inside stay deleted") for warning in said)
        assert not any("a.txt" in warning for warning in said)

    def test_when_a_version_is_restored(self, shop: Shop) -> None:
        mail = shop.upload(MAIL, "mail.txt")
        shop.work()
        shop.upload("Nothing any more.", "mail.txt")
        shop.work()
        shop.upload(MAIL, "mail.txt")
        shop.work()
        delete_inside(shop, mail.document_id, "a.txt")
        with shop.parts.db.begin() as session:
            versions.restore(session, shop.scope, mail.document_id, 2)
        shop.work()
        with shop.parts.db.begin() as session:
            versions.restore(session, shop.scope, mail.document_id, 1)
        shop.work()
        assert names(shop, mail.document_id) == ["b.txt"]

    def test_under_another_name_and_with_other_bytes(self, shop: Shop) -> None:
        mail = shop.upload(MAIL, "mail.txt")
        shop.work()
        delete_inside(shop, mail.document_id, "a.txt")
        shop.upload("New.\n\nother.txt: The first one.\n\na.txt: Changed.\n\nc.txt: C.", "mail.txt")
        shop.work()
        assert names(shop, mail.document_id) == ["c.txt"]

    def test_and_takes_no_other_of_its_name_along(self, shop: Shop) -> None:
        mail = shop.upload("Two.\n\na.txt: One.\n\na.txt: Two.", "mail.txt")
        shop.work()
        first, second = inside(shop, mail.document_id)
        shop.delete(first.id)
        shop.work()
        shop.upload("Two.\n\na.txt: One.\n\na.txt: Two.\n\nMore.", "mail.txt")
        shop.work()
        assert [child.id for child in inside(shop, mail.document_id)] == [second.id]
        shop.upload("One.\n\na.txt: Two.", "mail.txt")
        shop.work()
        (left,) = inside(shop, mail.document_id)
        assert left.sha256 == second.sha256

    def test_where_a_living_one_has_the_same_bytes(self, shop: Shop) -> None:
        mail = shop.upload("Two.\n\na.txt: Same.\n\nb.txt: Same.", "mail.txt")
        shop.work()
        delete_inside(shop, mail.document_id, "a.txt")
        shop.upload("Two.\n\na.txt: Same.\n\nb.txt: Same.\n\nMore.", "mail.txt")
        shop.work()
        assert names(shop, mail.document_id) == ["b.txt"]

    def test_and_another_of_its_name_may_change_in_its_place(self, shop: Shop) -> None:
        mail = shop.upload("Two.\n\na.txt: One.\n\na.txt: Two.", "mail.txt")
        shop.work()
        shop.delete(inside(shop, mail.document_id)[0].id)
        shop.work()
        for text in ("Two, revised.", "Two, revised again."):
            shop.upload(f"Mail.\n\na.txt: {text}", "mail.txt")
            shop.work()
            assert contents(shop, mail.document_id) == {text: "a.txt"}
        shop.upload("Mail.\n\na.txt: One, revised.\n\na.txt: Two, revised again.", "mail.txt")
        shop.work()
        assert contents(shop, mail.document_id) == {"Two, revised again.": "a.txt"}
        shop.upload("Mail.\n\na.txt: One.\n\na.txt: Two.", "mail.txt")
        shop.work()
        assert contents(shop, mail.document_id) == {"Two.": "a.txt"}

    def test_and_a_living_one_with_its_bytes_may_be_renamed(self, shop: Shop) -> None:
        mail = shop.upload("Two.\n\na.txt: Same.\n\nb.txt: Same.", "mail.txt")
        shop.work()
        delete_inside(shop, mail.document_id, "a.txt")
        for new, left in (
            ("a.txt: Same.\n\nc.txt: Same.", ["c.txt"]),
            ("a.txt: Same.\n\nc.txt: Changed.", ["c.txt"]),
            ("c.txt: Changed.\n\nd.txt: Same.", ["c.txt"]),
        ):
            shop.upload(f"New.\n\n{new}", "mail.txt")
            shop.work()
            assert names(shop, mail.document_id) == left

    def test_even_where_the_living_one_with_its_bytes_is_taken_out(self, shop: Shop) -> None:
        mail = shop.upload("Two.\n\na.txt: Same.\n\nb.txt: Same.", "mail.txt")
        shop.work()
        delete_inside(shop, mail.document_id, "a.txt")
        shop.upload("New.\n\na.txt: Same.", "mail.txt")
        shop.work()
        assert names(shop, mail.document_id) == []

    def test_and_one_of_two_equal_ones_stays(self, shop: Shop) -> None:
        mail = shop.upload("Two.\n\na.txt: Same.\n\na.txt: Same.", "mail.txt")
        shop.work()
        shop.delete(inside(shop, mail.document_id)[0].id)
        shop.work()
        shop.upload("One.\n\na.txt: Same.", "mail.txt")
        shop.work()
        assert names(shop, mail.document_id) == ["a.txt"]

    def test_deeper_inside_a_document_that_was_gone_in_between(self, shop: Shop) -> None:
        text = "Top.\n\n1.txt: One. / 2.txt: Two. / 3.txt: Three."
        mail = shop.upload(text, "mail.txt")
        shop.work()
        (outer,) = inside(shop, mail.document_id)
        assert names(shop, outer.id) == ["2.txt", "3.txt"]
        delete_inside(shop, outer.id, "2.txt")
        for version in ("Nothing.", text + "\n\nMore."):
            shop.upload(version, "mail.txt")
            shop.work()
        (outer,) = inside(shop, mail.document_id)
        assert names(shop, outer.id) == ["3.txt"]

    def test_until_it_is_uploaded_by_itself_or_all_of_it_anew(self, shop: Shop) -> None:
        mail = shop.upload(MAIL, "mail.txt")
        shop.work()
        delete_inside(shop, mail.document_id, "a.txt")
        own = shop.upload("The first one.", "a.txt")
        shop.work()
        assert shop.live(own.document_id) == 1
        shop.delete(mail.document_id)
        shop.work()
        assert shop.count(KeptOut) == 0
        mail = shop.upload(MAIL, "mail.txt")
        shop.work()
        assert names(shop, mail.document_id) == ["a.txt", "b.txt"]

    def test_but_not_what_a_version_dropped(self, shop: Shop) -> None:
        mail = shop.upload(MAIL, "mail.txt")
        shop.work()
        for text in ("Nothing.", MAIL + "\n\nAgain."):
            shop.upload(text, "mail.txt")
            shop.work()
        assert names(shop, mail.document_id) == ["a.txt", "b.txt"]
        assert shop.count(KeptOut) == 0


class TestDescribe:
    def test_access_and_metadata_follow_the_parent(self, shop: Shop) -> None:
        mail = shop.upload(MAIL, "mail.txt")
        shop.work()
        with shop.parts.db.begin() as session:
            versions.describe(
                session, shop.scope, mail.document_id, metadata={"year": 2026}, grants=["user:ann"]
            )
        shop.work()
        for child in inside(shop, mail.document_id):
            assert (child.metadata, child.access, child.state) == ({"year": 2026}, ["user:ann"], "succeeded")


class TestSafeName:
    @pytest.mark.parametrize(
        ("given", "safe"),
        [
            ("a/../b.txt", "b.txt"),
            ("C:\\x\\y.pdf", "y.pdf"),
            ("", "attachment"),
            ("..", "attachment"),
            ("a\x07.txt", "a_.txt"),
        ],
    )
    def test_is_one_that_a_document_may_have(self, given: str, safe: str) -> None:
        assert children.safe_name(given) == safe
        assert documents.checked_name(safe) == safe

    def test_keeps_its_ending(self) -> None:
        assert children.safe_name("x" * 400 + ".pdf").endswith("x.pdf")
        assert len(children.safe_name("x" * 400 + ".pdf")) == documents.LONGEST_NAME
