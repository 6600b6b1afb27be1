"""Uploads as they arrive: a form of files or a text in JSON, each checked for what the request itself shows."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from itertools import chain
from typing import Annotated, Any, BinaryIO

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import AfterValidator, BaseModel, Field, Json, TypeAdapter, ValidationError
from sqlalchemy.orm import Session
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException

from api import models
from api.bodies import BadForm, FormParser
from api.models import Text
from api.problems import not_json
from ibid import arrivals, documents, filters, media, uploads
from ibid.arrivals import Archive, Expected, Link
from ibid.blobs.directory import NO_ROOM
from ibid.blobs.port import NoRoom
from ibid.bootstrap import Parts
from ibid.documents import Accepted, Upload
from ibid.errors import IbidError, Invalid, TooLarge
from ibid.links import LONGEST_URL
from ibid.principals import checked
from ibid.types import Scope

MOST_METADATA = 64 * 1024
_OBJECT = TypeAdapter(dict[str, Any])


def _small(value: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(value, allow_nan=False)) > MOST_METADATA:
        raise ValueError(f"it is longer than {MOST_METADATA} characters of JSON")
    if not all(filters.is_storable(text) for text in _texts(value)):
        raise ValueError("it holds a null character, or half of a surrogate pair")
    if len(filters.facts(value)) > filters.MOST_FACTS:
        raise ValueError(f"it holds more than {filters.MOST_FACTS} values")
    return value


def _texts(value: object) -> Iterator[str]:
    """Every text in a piece of JSON, keys as well."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in chain(value, value.values() if isinstance(value, dict) else ()):
            yield from _texts(each)


Metadata = Annotated[dict[str, Any], AfterValidator(_small)]
Access = Annotated[list[Text], Field(max_length=200), AfterValidator(checked)]
ExternalId = Annotated[Text, Field(min_length=1, max_length=512)]


class EmptyFile(Invalid):
    """The file has no bytes."""

    code = "empty_file"


class FileTooLarge(TooLarge):
    """The file has more bytes than the setting allows."""

    code = "too_large"


class NoFiles(Invalid):
    """The form brings no file."""

    code = "no_files"


class BadUpload(Invalid):
    """The form's fields do not fit together."""

    code = "invalid_upload"


class NewText(models.Request):
    """A document as text. The name's ending says what kind of text it is; without one it is plain."""

    name: Text
    text: str
    external_id: ExternalId | None = None
    metadata: Metadata | None = None
    access: Access | None = None


class NewLink(models.Request):
    """A document by its address, which is its external id unless another one is given."""

    url: Annotated[Text, Field(min_length=1, max_length=LONGEST_URL)]
    name: Text | None = None
    external_id: ExternalId | None = None
    metadata: Metadata | None = None
    access: Access | None = None


class Fields(BaseModel):
    """What a form says beside its files: JSON in `metadata` and `access`. `unpack` is about the archives among them."""

    external_id: ExternalId | None = None
    metadata: Json[Metadata] | None = None
    access: Json[Access] | None = None
    unpack: bool = False


@dataclass(frozen=True, slots=True)
class Incoming:
    """A file on its way in. `plain` is a text that came in JSON; `oversized` lacks its bytes beyond the limit."""

    name: str
    file: BinaryIO
    size: int
    plain: bool = False
    oversized: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """All files of a request, with what is said of them."""

    files: Sequence[Incoming]
    external_id: str | None = None
    metadata: Mapping[str, Any] | None = None
    access: Sequence[str] | None = None
    unpack: bool = False

    def fingerprint(self) -> str:
        """What makes two deliveries the same: every name, byte and field."""
        seen = hashlib.sha256(
            repr((self.external_id, self.metadata, self.access, self.unpack)).encode(
                "utf-8", "backslashreplace"
            )
        )
        for incoming in self.files:
            seen.update(
                repr((incoming.name, incoming.size, incoming.plain)).encode("utf-8", "backslashreplace")
            )
            for piece in uploads.pieces(incoming.file):
                seen.update(piece)
        return seen.hexdigest()


async def read_form(request: Request, *, max_file: int) -> tuple[FormData, list[UploadFile]]:
    """The form, its files on disk, and those of them that are too large. The caller closes the form."""
    parser = FormParser(request, max_file=max_file)
    try:
        with taking_files():
            return await parser.parse(), parser.oversized
    except MultiPartException as error:
        raise BadForm(f"The form cannot be read: {error.message}", param="body") from error


@contextmanager
def taking_files() -> Iterator[None]:
    """Raise `NoRoom` where the disk is full on which files are put before they are kept."""
    try:
        yield
    except OSError as error:
        if error.errno in NO_ROOM:
            raise NoRoom(
                "The disk that takes files as they come is full, so nothing was stored. Free some space and try again."
            ) from error
        raise


def from_form(form: FormData, oversized: Sequence[UploadFile]) -> Delivery:
    """The delivery in a form; raises `NoFiles`, `BadUpload`, or a validation error for its fields."""
    if unknown := set(form) - {"files", "external_id", "metadata", "access", "unpack"}:
        raise BadUpload(
            f"The form has unknown fields: {sorted(unknown)[:5]!a}. Files go in `files`.", param="body"
        )
    files = form.getlist("files")
    if not files:
        raise NoFiles("The form has no file. Put each one in a part named `files`.", param="files")
    if not all(isinstance(file, UploadFile) for file in files):
        raise BadUpload("A part named `files` has no filename, so it is no file.", param="files")
    fields = validated({name: value for name, value in form.items() if name != "files"})
    if fields.external_id is not None and len(files) > 1:
        raise BadUpload("external_id names one document; send it with one file.", param="external_id")
    incoming = [
        Incoming(file.filename or "", file.file, file.size or 0, oversized=file in oversized)
        for file in files
        if isinstance(file, UploadFile)
    ]
    return Delivery(incoming, fields.external_id, fields.metadata, fields.access, fields.unpack)


def from_json(body: bytes) -> Delivery | Link:
    """The delivery or the address in a JSON body; raises `InvalidJson` or a validation error."""
    try:
        if _has_url(body):
            link = NewLink.model_validate_json(body)
            return Link(link.url, link.name, link.external_id, link.metadata, link.access)
        text = NewText.model_validate_json(body)
    except ValidationError as error:
        if any(each["type"] == "json_invalid" for each in error.errors()):
            raise not_json() from error
        raise _as_request_error(error) from error
    raw = text.text.encode("utf-8")
    return Delivery(
        [Incoming(text.name, BytesIO(raw), len(raw), plain=True)],
        text.external_id,
        text.metadata,
        text.access,
    )


def _has_url(body: bytes) -> bool:
    try:
        return "url" in _OBJECT.validate_json(body)
    except ValidationError:  # the model of a text says what is wrong
        return False


def keep(parts: Parts, incoming: Incoming, delivery: Delivery) -> Upload | Archive:
    """Check a file for what it shows, and make its bytes durable."""
    name = documents.checked_name(incoming.name)
    if incoming.oversized or incoming.size > parts.settings.max_upload_bytes:
        limit = parts.settings.max_upload_bytes
        raise FileTooLarge(
            f"{name} is larger than the {limit:,} bytes a file may have. Split it.", param="files"
        )
    if incoming.size == 0:
        raise EmptyFile(
            f"{name} is empty. Check that it was saved.", param="text" if incoming.plain else "files"
        )
    described = (delivery.external_id, delivery.metadata, delivery.access)
    if delivery.unpack and media.archive(name) is not None:
        media.check_archive(name, _head(incoming.file))
        return Archive(name, uploads.keep(parts.db, parts.blobs, incoming.file), *described)
    kind = _kind_of_text(name) if incoming.plain else media.check_upload(name, _head(incoming.file))
    kept = uploads.keep(parts.db, parts.blobs, incoming.file)
    return Upload(name, kind.name, kept, *described)


def accept(
    session: Session, scope: Scope, collection: str, upload: Upload | Archive
) -> Accepted | Expected | IbidError:
    """Take what was kept, or give the error that refuses it alone."""
    if isinstance(upload, Archive):
        return arrivals.unpack(session, scope, collection, upload)
    return arrivals.accept_alone(session, scope, collection, upload)


def _kind_of_text(name: str) -> media.MediaType:
    kind = media.BY_EXTENSION.get(media.extension(name), media.TEXT)
    if kind.magic:
        raise media.UnsupportedType(
            f"Text in JSON cannot be a {kind.label} file. Upload the file itself.", param="name"
        )
    return kind


def _head(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read(media.HEAD)


def validated(values: Mapping[str, Any]) -> Fields:
    """The fields that come beside files; raises a validation error of the request."""
    try:
        return Fields.model_validate(values)
    except ValidationError as error:
        raise _as_request_error(error) from error


def _as_request_error(error: ValidationError) -> RequestValidationError:
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return RequestValidationError([dict(each) | {"loc": ("body", *each["loc"])} for each in found])
