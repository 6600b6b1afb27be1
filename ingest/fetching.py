"""Fetching a document from an address: downloaded in the job, and then the way of every other upload."""

import logging

from ibid import arrivals, claims, documents, links, media, uploads
from ibid.arrivals import Order
from ibid.claims import Claim
from ibid.documents import Upload
from ibid.errors import IbidError, Invalid
from ibid.types import JobState
from ibid.uploads import Kept
from ingest import scratch
from ingest.downloads import Limits, download
from ingest.tools import Tools

log = logging.getLogger(__name__)


class AddressGone(Invalid):
    """The address was let go of before it was fetched."""

    code = "address_gone"


class NothingThere(Invalid):
    """The server sent no bytes."""

    code = "empty_file"


def fetch(tools: Tools, held: Claim) -> None:
    """Make a document of what is at the claim's address, or a new version of it, and end the job."""
    with tools.db.begin() as session:
        order = arrivals.order(session, held)
        claims.progress(session, held, "fetching")
    if order.url is None:
        raise AddressGone("The address was no longer kept when its turn came. Send it again.")
    settings = tools.settings
    links.check_allowed(allowed=settings.url_ingestion)
    limits = Limits(settings.max_upload_bytes, settings.url_seconds, settings.url_allow_private)
    with scratch.spooled() as file:
        found = download(order.url, file, limits, tools.go_on)
        name = documents.checked_name(order.name or found)
        if file.tell() == 0:
            raise NothingThere("The server sent an empty document. Check the address.")
        file.seek(0)
        kind = media.check_upload(name, file.read(media.HEAD)).name
        uploads.keeping(
            tools.db,
            tools.blobs,
            file,
            lambda kept: _accept(tools, held, order, _upload(order, name, kind, kept)),
        )


def _upload(order: Order, name: str, media_type: str, kept: Kept) -> Upload:
    return Upload(name, media_type, kept, order.external_id or order.url, order.metadata, order.grants)


def _accept(tools: Tools, held: Claim, order: Order, upload: Upload) -> None:
    """Accept the document, let go of the address and end the job, in one transaction."""
    with tools.db.begin() as session:
        uploads.refer(session, upload.kept)
        accepted = arrivals.accept_alone(session, order.scope, order.collection_id, upload)
        if isinstance(accepted, IbidError):
            raise accepted
        arrivals.record(session, order, held, accepted)
        told = {
            "outcome": accepted.outcome,
            "document_id": accepted.document_id,
            "version": accepted.version,
            "job_id": accepted.job_id,
        }
        claims.finish(session, held, JobState.SUCCEEDED, told)
        arrivals.let_go(session, held.id)
    log.info("the job ended: %s", accepted.outcome)
