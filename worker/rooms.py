"""Rooms for the kinds of jobs that are not ingestion's: it never knows the other room, and a worker knows both."""

from collections.abc import Mapping
from typing import Final

from ibid.chat.registry import ChatModels
from ibid.claims import Claim
from ibid.types import JobKind
from ingest.tools import Tools
from ingest.work import Room
from retrieval import trial
from retrieval.kit import Kit


def fit(tools: Tools, held: Claim) -> None:
    """Fit a generation with what the worker works with."""
    models = ChatModels(lambda: tools.encoders.get(tools.settings.embedder), tools.settings)
    kit = Kit(tools.db, tools.store, tools.encoders, models, tools.settings)
    trial.fit(kit, held, tools.go_on)


ROOMS: Final[Mapping[JobKind, Room]] = {JobKind.FIT: fit}
