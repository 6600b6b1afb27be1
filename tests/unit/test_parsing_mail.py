from email.message import EmailMessage
from pathlib import Path

import pytest

from ibid.types import Attachment
from ingest.parsing import mail
from ingest.parsing.errors import Encrypted
from ingest.parsing.mail import Mail, plain_name, read_eml, read_msg


@pytest.fixture
def read(tmp_path: Path):
    def read_message(message: EmailMessage | bytes) -> Mail:
        path = tmp_path / "a.eml"
        path.write_bytes(message if isinstance(message, bytes) else message.as_bytes())
        return read_eml(path)

    return read_message


def letter(body: str = "We meet at noon.") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Ann Öz <ann@example.com>"
    message["To"] = "Bob <bob@example.com>, Eve <eve@example.com>"
    message["Cc"] = "Zoe <zoe@example.com>"
    message["Bcc"] = "secret@example.com"
    message["Date"] = "Mon, 05 Jan 2026 10:00:00 +0000"
    message["Subject"] = "Café plan"
    message.set_content(body)
    return message


def attach(message: EmailMessage, data: bytes, name: str | None, kind: str = "application/pdf") -> None:
    message.add_attachment(data, *kind.split("/"), filename=name)


class TestPlainName:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("plan.pdf", "plan.pdf"),
            ("../../etc/passwd", "passwd"),
            ("/etc/cron.d/evil", "evil"),
            ("..\\..\\Windows\\evil.dll", "evil.dll"),
            ("C:\\evil.txt", "evil.txt"),
            ("a/b/", "b"),
            ("..", "made-up"),
            (" . ", "made-up"),
            ("", "made-up"),
            ("a\x00b\r\nc.txt", "ab c.txt"),
            ('q<">|?*.txt', "q______.txt"),
            ("evil\u202etxt.exe", "eviltxt.exe"),
            ("Größe.docx", "Größe.docx"),
        ],
    )
    def test_is_never_a_path(self, name: str, expected: str):
        assert plain_name(name, "made-up") == expected

    def test_a_long_one_keeps_its_ending(self):
        name = plain_name("n" * 5_000 + ".docx", "made-up")
        assert len(name) == 200
        assert name.endswith("n.docx")


class TestReadEml:
    def test_headers_and_body(self, read):
        found = read(letter())
        assert found.subject == "Café plan"
        assert found.headers == (
            ("From", "Ann Öz <ann@example.com>"),
            ("To", "Bob <bob@example.com>, Eve <eve@example.com>"),
            ("Cc", "Zoe <zoe@example.com>"),
            ("Date", "Mon, 05 Jan 2026 10:00:00 +0000"),
        )
        assert found.bodies == (("We meet at noon.\n", False),)

    def test_a_header_that_makes_no_sense_is_kept_as_written(self, read):
        found = read(b"Subject: s\nDate: when the cows come home\nFrom: <<>>@@\n\nWords.")
        assert ("Date", "when the cows come home") in found.headers
        assert found.bodies == (("Words.", False),)

    def test_of_alternatives_the_richest_is_read(self, read):
        message = letter("plain words")
        message.add_alternative("<p>rich words</p>", subtype="html")
        attach(message, b"%PDF", "plan.pdf")
        found = read(message)
        assert [html for _, html in found.bodies] == [True]
        assert "rich words" in found.bodies[0][0]
        assert found.attachments == (Attachment("plan.pdf", b"%PDF"),)

    def test_every_body_of_a_mixed_mail_is_read(self, read):
        message = EmailMessage()
        message.make_mixed()
        for words in ("first", "second"):
            part = EmailMessage()
            part.set_content(words)
            message.attach(part)
        assert [text.strip() for text, _ in read(message).bodies] == ["first", "second"]

    def test_attachments(self, read):
        message = letter()
        attach(message, b"%PDF", "../../plan.pdf")
        attach(message, b"notes", None, "text/plain")
        attach(message, b"picture", None, "image/png")
        inner = letter("inner words")
        message.add_attachment(inner)
        found = read(message)
        assert [item.name for item in found.attachments] == ["plan.pdf", "attachment-2.txt", "Café plan.eml"]
        assert found.attachments[1].data == b"notes"
        assert b"inner words" in found.attachments[2].data
        assert found.images_skipped == 1
        assert [text.strip() for text, _ in found.bodies] == ["We meet at noon."]

    def test_pictures_that_the_body_shows_are_no_attachments(self, read):
        message = letter()
        message.add_alternative(
            '<p>Words</p><img src="cid:logo@example.com"><img src="CID:pixel%2B1@example.com">', "html"
        )
        html = message.get_payload()[1]
        for name, content_id, disposition in (
            ("logo.png", "<logo@example.com>", "inline"),
            ("pixel.gif", "<pixel+1@example.com>", "attachment"),
            ("photo.jpg", "<photo@example.com>", "inline"),
        ):
            kind = {"subtype": "png", "filename": name, "cid": content_id, "disposition": disposition}
            html.add_related(b"picture", "image", **kind)
        html.add_related(b"notes", "text", "plain", filename="notes.txt", cid="<logo@example.com>")
        attach(message, b"%PDF", "plan.pdf")
        found = read(message)
        assert [item.name for item in found.attachments] == ["photo.jpg", "notes.txt", "plan.pdf"]
        assert found.images_skipped == 2

    def test_a_mail_that_is_one_file(self, read):
        message = b"Subject: scan\nContent-Type: application/pdf; name=a.pdf\nContent-Transfer-Encoding: base64\n\nJVBERg=="
        assert read(message).attachments == (Attachment("a.pdf", b"%PDF"),)

    def test_at_most_so_many(self, read):
        message = letter()
        for number in range(mail.MAX_ATTACHMENTS + 12):
            attach(message, b"x", f"{number}.txt")
        found = read(message)
        assert len(found.attachments) == mail.MAX_ATTACHMENTS
        assert "100.txt" in found.warnings[0]
        assert "and 2 more" in found.warnings[0]

    def test_at_most_so_large(self, read, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(mail, "MAX_ATTACHED_BYTES", 10)
        message = letter()
        for name, size in (("a", 6), ("large", 6), ("b", 4)):
            attach(message, b"x" * size, name)
        found = read(message)
        assert [item.name for item in found.attachments] == ["a", "b"]
        assert "large" in found.warnings[0]

    @pytest.mark.parametrize(
        "kind",
        [
            "multipart/encrypted; boundary=x",
            "application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m",
        ],
    )
    def test_encrypted(self, read, kind: str):
        with pytest.raises(Encrypted, match="Decrypt"):
            read(f"Subject: s\nContent-Type: {kind}\n\nx".encode())


@pytest.mark.data
class TestReadMsg:
    def test_headers_body_and_attachments(self, data: Path):
        found = read_msg(data / "documents" / "fake-email-attachment.msg")
        assert found.subject == "Fake email with attachment"
        assert found.headers == (
            ("From", '"Mallori Harrell" <mallori@unstructured.io>'),
            ("To", '"Mallori Harrell" <mallori@unstructured.io>'),
            ("Date", "Fri, 23 Dec 2022 12:08:48 -0600"),
        )
        assert "the attachments!" in found.bodies[0][0]
        assert [item.name for item in found.attachments] == ["fake-attachment.txt"]
        assert found.attachments[0].data.startswith(b"Hey this is a fake attachment")

    def test_a_picture_that_the_body_shows_is_no_attachment(self, data: Path, tmp_path: Path):
        """The attached file made a picture, and a word of the body its address, in place."""
        saved = (data / "documents" / "fake-email-attachment.msg").read_bytes()
        as_picture = saved.replace("text/plain".encode("utf-16-le"), "image/webp".encode("utf-16-le"))
        for content, expected in (
            (as_picture, 1),
            (as_picture.replace(b"the attachments!", b"cid:f_lc0tto5j0 "), 0),
        ):
            (tmp_path / "a.msg").write_bytes(content)
            found = read_msg(tmp_path / "a.msg")
            assert (len(found.attachments), found.images_skipped) == (expected, 1 - expected)
