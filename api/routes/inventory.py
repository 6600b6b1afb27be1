"""A look at the whole installation: what belongs to nothing, and its removal."""

from fastapi import APIRouter, Response

from api import models
from api.auth import Overseer
from api.once import OnceDep
from api.problems import documented
from api.routes.collections import Repair
from api.routes.injected import Wired
from ibid import audit, inventory

router = APIRouter(prefix="/v1/verify", tags=["collections"])


class InventoryView(models.Response):
    """Counts of what was found, before any repair. `lost_bytes` are uploads whose bytes are gone: upload them again."""

    dropped_generations: int
    unknown_generations: int
    bytes_without_row: int
    rows_without_reference: int
    lost_bytes: int
    children_without_parent: int
    stray_texts: int
    stray_vectors: int
    repaired: bool


@router.post(
    "", operation_id="verify_everything", response_model=InventoryView, responses=documented(401, 403, 503)
)
def verify_everything(found: Overseer, wired: Wired, once: OnceDep, body: Repair | None = None) -> Response:
    """Look for generations, bytes, rows and documents that belong to nothing, and remove them if asked."""

    def look() -> InventoryView:
        repair = bool(body and body.repair)
        taken = inventory.take(wired.parts, repair=repair)
        with wired.parts.db.begin() as session:
            audit.record(session, found.who, "verify", "", {"repair": repair})
        return InventoryView.model_validate(taken)

    return once.run_outside(200, look)
