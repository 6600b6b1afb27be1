"""What endpoints ask for by annotation."""

from datetime import timedelta
from typing import Annotated

from fastapi import Depends

from api.wiring import Wiring, wiring

Wired = Annotated[Wiring, Depends(wiring)]


def grace(wired: Wiring) -> timedelta | None:
    """How long a late write may still reach a Qdrant server; None where the store's owner refuses it."""
    settings = wired.parts.settings
    return None if settings.standalone else timedelta(seconds=settings.qdrant_timeout)
