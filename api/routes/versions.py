"""What is done with the versions of a document, and with what is said of it."""

from dataclasses import asdict
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from sqlalchemy.orm import Session

from api import models
from api.auth import Editor, Reader
from api.intake import Access, Metadata
from api.once import OnceDep
from api.problems import documented
from api.routes.documents import DocumentView, Number
from api.routes.injected import Wired
from ibid import audit, differences, documents, versions

router = APIRouter(prefix="/v1/documents", tags=["documents"])


class Piece(models.Response):
    """A span of a canonical text with its words."""

    start: int
    end: int
    text: str


class Difference(models.Response):
    """`removed` are spans of the text of `against`, `added` of that of `version`.

    `coarse`: both are so long and so different that all between their equal ends counts as changed.
    """

    document_id: str
    version: int
    against: int
    removed: list[Piece]
    added: list[Piece]
    coarse: bool


class Restored(models.Response):
    """The version that has the old content now; `unchanged` if the newest had it already."""

    id: str
    version: int
    job_id: str | None
    outcome: Literal["updated", "unchanged"]


class Described(models.Request):
    """What is said of a document; what is left out stays as it is."""

    metadata: Metadata | None = None
    access: Access | None = None


@router.get(
    "/{document_id}/versions/{number}/diff",
    operation_id="diff_versions",
    responses=documented(401, 404, 409),
)
def diff_versions(
    document_id: str,
    number: Number,
    against: Annotated[int, Query(ge=1, le=2**31 - 1)],
    found: Reader,
    wired: Wired,
) -> Difference:
    """Paragraphs and other elements that a version has and another has not, and the other way round."""
    with wired.parts.db.read() as session:
        made = differences.between(session, found.scope, document_id, number, against)
    return Difference.model_validate(
        asdict(made) | {"document_id": document_id, "version": number, "against": against}
    )


@router.post(
    "/{document_id}/versions/{number}/restore",
    operation_id="restore_version",
    status_code=202,
    response_model=Restored,
    responses=documented(401, 403, 404, 409, 410, 422),
)
def restore_version(document_id: str, number: Number, found: Editor, once: OnceDep) -> Response:
    """Make a version's content the newest again, as a new version: history is not rewritten, nothing embedded anew."""

    def restore(session: Session) -> Restored:
        made = versions.restore(session, found.scope, document_id, number)
        detail = {"restored": number, "version": made.version, "outcome": made.outcome}
        audit.record(session, found.who, "document.restore", document_id, detail)
        return Restored(
            id=document_id,
            version=made.version,
            job_id=made.job_id,
            outcome="unchanged" if made.outcome == "unchanged" else "updated",
        )

    return once.run(202, restore)


@router.put(
    "/{document_id}/metadata", operation_id="describe_document", responses=documented(401, 403, 404, 422)
)
def describe_document(document_id: str, body: Described, found: Editor, wired: Wired) -> DocumentView:
    """Give a document other metadata or another access list. Nothing is read or embedded for it."""
    with wired.parts.db.begin() as session:
        row = versions.describe(session, found.scope, document_id, metadata=body.metadata, grants=body.access)
        changed = [name for name in ("metadata", "access") if getattr(body, name) is not None]
        audit.record(session, found.who, "document.describe", document_id, {"given": changed})
        return DocumentView.model_validate(asdict(documents.view(session, row)))
