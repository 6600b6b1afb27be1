"""Whether the process lives, and whether it answers searches."""

from fastapi import APIRouter

from api.models import Response
from api.problems import documented
from api.routes.injected import Wired

router = APIRouter(tags=["health"])


class Health(Response):
    """`ok`, or the reply is a problem."""

    status: str


@router.get("/healthz", operation_id="health")
def health() -> Health:
    """Whether the process is alive."""
    return Health(status="ok")


@router.get("/readyz", operation_id="ready", responses=documented(503))
def ready(wired: Wired) -> Health:
    """Whether a search is answered now: the encoder is loaded, the database and the vector store can be reached."""
    wired.readiness.check()
    return Health(status="ready")
