"""Mails: who wrote what to whom and when, the words, and the files attached. Nothing is written to disk."""

import mimetypes
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email import policy
from email.message import MIMEPart
from email.parser import BytesParser
from html import unescape
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote

from oxmsg import Message
from oxmsg.attachment import Attachment as Attached
from oxmsg.recipient import Recipient

from ibid.types import Attachment
from ingest.canonical import clean
from ingest.parsing.encodings import decode
from ingest.parsing.errors import Encrypted

MAX_ATTACHMENTS: Final = 100
MAX_ATTACHED_BYTES: Final = 256 * 1024 * 1024
"""Of all attachments of a mail together."""
_LONGEST_NAME: Final = 200
_SHOWN: Final = ("From", "To", "Cc", "Date")
_REFERENCE: Final = re.compile(r"(?i)\bcid:([^\s\"'<>()\\]{1,500})")
_NOT_IN_NAMES: Final = re.compile(r'[\x00-\x1f\x7f<>:"|?*]')
_RECIPIENT_TYPE: Final = 0x0C15
"""Of MAPI: 1 is To, 2 is Cc."""
_CONTENT_ID: Final = 0x3712
"""Of MAPI: by what the HTML of a mail refers to an attachment."""
_UNKNOWN_HEADER: Final = (AttributeError, IndexError, LookupError, TypeError, ValueError)
"""What the library raises for a header that it cannot take apart."""


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail: `headers` are names and values worth reading; `bodies` are texts in order, with whether each is HTML."""

    subject: str
    headers: tuple[tuple[str, str], ...]
    bodies: tuple[tuple[str, bool], ...]
    attachments: tuple[Attachment, ...] = ()
    images_skipped: int = 0
    warnings: tuple[str, ...] = ()


def plain_name(name: str, fallback: str) -> str:
    """A file name without a path, control characters and what file systems refuse; `fallback` if nothing is left."""
    base = clean(name).replace("\\", "/").rstrip("/ ").rpartition("/")[2]
    base = _NOT_IN_NAMES.sub("_", " ".join(base.split())).strip(" .")
    if len(base) > _LONGEST_NAME:
        ending = PurePosixPath(base).suffix[:20]
        base = base[: _LONGEST_NAME - len(ending)] + ending
    return base or fallback


def read_eml(path: Path) -> Mail:
    """A mail as it travels (RFC 5322); raises `Encrypted`."""
    with path.open("rb") as file:
        message = BytesParser(policy=policy.default).parse(file)
    _refuse_encrypted(message)
    bodies: list[tuple[str, bool]] = []
    beside: list[MIMEPart] = []
    for part in _leaves(message):
        kind = part.get_content_type()
        if kind in {"text/plain", "text/html"} and not part.is_attachment() and not part.get_filename():
            text, _ = decode(_payload(part), part.get_content_charset())
            bodies.append((text, kind == "text/html"))
        else:
            beside.append(part)
    shown = _shown(text for text, html in bodies if html)
    images = 0
    attached: list[tuple[str, bytes]] = []
    for part in beside:
        # A logo or a tracking pixel is a part of the body, and no document.
        named = part.get_filename() and _header(part, "Content-ID").strip(" <>") not in shown
        if part.get_content_maintype() == "image" and not named:
            images += 1
        else:
            attached.append((_name(part, len(attached) + 1), _payload(part)))
    kept, warnings = _bounded(attached)
    headers = tuple((name, value) for name in _SHOWN if (value := _header(message, name)))
    return Mail(_header(message, "Subject"), headers, tuple(bodies), kept, images, warnings)


def read_msg(path: Path) -> Mail:
    """A mail that Outlook saved."""
    message = Message.load(str(path))
    sent = {name.title(): value for name, value in message.message_headers.items()}
    people = list(message.recipients)
    values = {
        "From": sent.get("From") or message.sender,
        "To": sent.get("To") or _people(people, 1),
        "Cc": sent.get("Cc") or _people(people, 2),
        "Date": sent.get("Date") or (message.sent_date and message.sent_date.isoformat(" ", "seconds")),
    }
    html = _msg_html(message)
    text = html or message.body or ""
    shown = _shown([html or ""])
    held = [(item, item.file_bytes) for item in message.attachments if not _is_shown(item, shown)]
    kept, warnings = _bounded(
        [
            (plain_name(item.file_name or "", _made_up(number, item.mime_type)), data)
            for number, (item, data) in enumerate(held, 1)
            if data is not None
        ]
    )
    return Mail(
        message.subject.strip(),
        tuple((name, " ".join(value.split())) for name, value in values.items() if value),
        ((text, html is not None),) if text.strip() else (),
        kept,
        images_skipped=len(message.attachments) - len(held),
        warnings=(*warnings, *_unreachable([item for item, data in held if data is None])),
    )


def _shown(pages: Iterable[str]) -> set[str]:
    """The content ids of what HTML shows in its place, as `cid:` addresses name them (RFC 2392)."""
    return {unquote(found) for page in pages for found in _REFERENCE.findall(unescape(page))}


def _is_shown(item: Attached, shown: set[str]) -> bool:
    """Whether an attachment is a picture that the mail's HTML shows."""
    picture = (item.mime_type or "").startswith("image/")
    content_id = item.properties.str_prop_value(_CONTENT_ID) or ""
    return picture and content_id.strip(" <>") in shown


def _refuse_encrypted(message: MIMEPart) -> None:
    enveloped = str(message.get_param("smime-type", "")).lower() == "enveloped-data"
    if message.get_content_type() == "multipart/encrypted" or enveloped:
        raise Encrypted("This mail is encrypted. Decrypt it in your mail program, save it and upload that.")


def _leaves(part: MIMEPart) -> Iterator[MIMEPart]:
    """The parts that are no containers; of alternatives only the richest that is read. Attached mails stay whole."""
    if part.get_content_maintype() != "multipart":
        yield part
        return
    inside = list(part.iter_parts())
    if part.get_content_subtype() == "alternative":
        inside = [max(inside, key=_richness)] if inside else []
    for one in inside:
        yield from _leaves(one)


def _richness(part: MIMEPart) -> int:
    kinds = {one.get_content_type() for one in part.walk()}
    return 2 if "text/html" in kinds else int("text/plain" in kinds)


def _payload(part: MIMEPart) -> bytes:
    if part.get_content_maintype() == "message":
        return b"".join(one.as_bytes() for one in part.iter_parts())
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _name(part: MIMEPart, number: int) -> str:
    if part.get_content_type() == "message/rfc822":
        subjects = [_header(one, "Subject") for one in part.iter_parts()]
        return plain_name(f"{''.join(subjects).replace('/', '_') or f'attachment-{number}'}.eml", "")
    return plain_name(part.get_filename() or "", _made_up(number, part.get_content_type()))


def _made_up(number: int, media_type: str | None) -> str:
    return f"attachment-{number}{mimetypes.guess_extension(media_type or '') or ''}"


def _header(message: MIMEPart, name: str) -> str:
    """Its value on one line; as it was written where it makes no sense."""
    try:
        value = str(message.get(name) or "")
    except _UNKNOWN_HEADER:
        value = next((str(raw) for key, raw in message.raw_items() if key.lower() == name.lower()), "")
    return " ".join(value.split())


def _bounded(attached: Iterable[tuple[str, bytes]]) -> tuple[tuple[Attachment, ...], tuple[str, ...]]:
    """As many attachments as a mail may have, and a warning that names the others."""
    kept: list[Attachment] = []
    left_out: list[str] = []
    size = 0
    for name, data in attached:
        if len(kept) < MAX_ATTACHMENTS and size + len(data) <= MAX_ATTACHED_BYTES:
            kept.append(Attachment(name, data))
            size += len(data)
        else:
            left_out.append(name)
    return tuple(kept), _warning("Attachments beyond what is taken from one mail were left out", left_out)


def _unreachable(attached: Iterable[Attached]) -> tuple[str, ...]:
    """Messages and links that Outlook does not keep as a file."""
    names = [plain_name(item.file_name or "", "without a name") for item in attached]
    return _warning("Attachments that this file does not hold as files were left out", names)


def _warning(what: str, names: list[str]) -> tuple[str, ...]:
    shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    return (f"{what}: {shown}. Upload them on their own.",) if names else ()


def _msg_html(message: Message) -> str | None:
    try:
        return message.html_body
    except (UnicodeDecodeError, LookupError):
        # The encoding that it names is not that of its bytes; the plain text beside it is kept as Unicode.
        return None


def _people(recipients: Iterable[Recipient], kind: int) -> str:
    chosen = [one for one in recipients if (one.properties.int_prop_value(_RECIPIENT_TYPE) or 1) == kind]
    return ", ".join(f"{one.name} <{one.email_address}>" if one.email_address else one.name for one in chosen)
